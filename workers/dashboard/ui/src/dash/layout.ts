// How high panels are that do not say it themselves.
import type { Panel, PanelType } from "../lib/types";

const COLUMNS = 12;

/** Rows of 40 pixels. */
const HEIGHTS: Record<PanelType, number> = {
  timeseries: 7,
  stat: 3,
  gauge: 3,
  bar: 7,
  table: 7,
  heatmap: 7,
  logs: 8,
  alerts: 5,
  text: 4,
};

/** These scroll: they fit in beside others, as long as a few lines can be seen. */
const SCROLLS = new Set<PanelType>(["bar", "table", "logs", "alerts", "text"]);
const SCROLLS_FROM = 4;

export interface Size {
  columns: number;
  rows: number;
}

function rowHeight(row: Panel[]): number {
  const fixed = row.map(({ type = "timeseries", height }) => height ?? (SCROLLS.has(type) ? 0 : HEIGHTS[type]));
  const scrolls = row.some(({ type = "timeseries", height }) => height === undefined && SCROLLS.has(type));
  const tallest = Math.max(...fixed);
  if (tallest > 0) return Math.max(tallest, scrolls ? SCROLLS_FROM : 0);
  return Math.max(...row.map(({ type = "timeseries" }) => HEIGHTS[type]));
}

/** The sizes of panels that flow into rows of twelve columns; those of one row come out even. */
export function layout(panels: Panel[]): Size[] {
  const sizes: Size[] = [];
  let row: Panel[] = [];
  let used = 0;
  const columnsOf = (panel: Panel) => Math.min(COLUMNS, Math.max(1, panel.width ?? 6));
  const finish = () => {
    if (row.length === 0) return;
    const even = rowHeight(row);
    for (const panel of row) sizes.push({ columns: columnsOf(panel), rows: Math.max(1, panel.height ?? even) });
    row = [];
    used = 0;
  };
  for (const panel of panels) {
    if (used + columnsOf(panel) > COLUMNS) finish();
    row.push(panel);
    used += columnsOf(panel);
  }
  finish();
  return sizes;
}
