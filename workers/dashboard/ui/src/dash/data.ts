// Runs the queries of a panel.
import { ApiError, get } from "../lib/api";
import { parseDuration, roundStep } from "../lib/time";
import type { Labels, Panel, PanelQuery, RangeAnswer, Severity, Threshold } from "../lib/types";
import { type Values, substitute } from "./vars";

export interface Series {
  name: string;
  labels: Labels;
  /** Which of the panel's queries it came from. */
  query: number;
  /** One for each time of the frame; `null` where there is no data. */
  values: (number | null)[];
}

export interface Frame {
  from: number;
  to: number;
  /** Unix seconds. */
  times: number[];
  series: Series[];
}

/** How finely a panel that is `width` pixels wide is drawn: a point every few pixels. */
export function panelStep(from: number, to: number, width: number): number {
  return roundStep(to - from, Math.min(300, Math.max(60, Math.floor(width / 4))));
}

function textOf(query: PanelQuery): string {
  const text = query.query ?? query.expr;
  if (text === undefined) throw new ApiError(400, "the panel has a query with neither `query` nor `expr`");
  return text;
}

function nameOf(query: PanelQuery, labels: Labels, text: string): string {
  if (query.legend) return query.legend.replace(/\{\{\s*([\w.]+)\s*\}\}/g, (_, label: string) => labels[label] ?? "");
  const entries = Object.entries(labels);
  if (entries.length === 0) return text;
  return entries.length === 1 ? (entries[0]?.[1] ?? "") : entries.map(([key, value]) => `${key}=${value}`).join(" ");
}

/** Short queries look back over a window: the one they name, else one step, at least a minute. */
function windowOf(query: PanelQuery, step: number): string | undefined {
  if (query.query === undefined) return undefined;
  return parseDuration(query.duration) ? query.duration : `${Math.max(60, step)}s`;
}

function byName(a: Series, b: Series): number {
  return a.query - b.query || a.name.localeCompare(b.name, undefined, { numeric: true });
}

/** Values over time of all of the panel's queries, on one axis of round times. */
export async function loadRange(panel: Panel, values: Values, span: { from: number; to: number }, width: number, signal: AbortSignal): Promise<Frame> {
  const step = panelStep(span.from, span.to, width);
  const from = Math.ceil(span.from / 1000 / step) * step;
  const to = Math.max(from, Math.floor(span.to / 1000 / step) * step);
  const count = Math.floor((to - from) / step) + 1;
  const times = Array.from({ length: count }, (_, index) => from + index * step);
  const answers = await Promise.all(
    (panel.queries ?? []).map(async (query, index) => {
      const text = substitute(textOf(query), values, "metrics");
      const duration = windowOf(query, step);
      const answer = await get<RangeAnswer>("metrics/range", { query: text, from, to, step: `${step}s`, duration }, signal);
      return answer.series.map((series): Series => {
        const column: (number | null)[] = new Array(count).fill(null);
        for (const [time, value] of series.values) {
          const at = Math.round((time - from) / step);
          if (at >= 0 && at < count && Number.isFinite(value)) column[at] = value;
        }
        return { name: nameOf(query, series.labels, text), labels: series.labels, query: index, values: column };
      });
    }),
  );
  return { ...span, times, series: answers.flat().sort(byName) };
}

/** The values at the end of the span, one for each series: at that very moment, not at a round time before it. */
export async function loadInstant(panel: Panel, values: Values, span: { from: number; to: number }, width: number, signal: AbortSignal): Promise<Frame> {
  const step = panelStep(span.from, span.to, width);
  const at = Math.floor(span.to) / 1000;
  const answers = await Promise.all(
    (panel.queries ?? []).map(async (query, index) => {
      const text = substitute(textOf(query), values, "metrics");
      const duration = windowOf(query, step);
      const answer = await get<RangeAnswer>("metrics/range", { query: text, from: at, to: at, step: `${step}s`, duration }, signal);
      return answer.series.map((series): Series => ({
        name: nameOf(query, series.labels, text),
        labels: series.labels,
        query: index,
        values: [series.values.at(-1)?.[1] ?? null],
      }));
    }),
  );
  return { ...span, times: [at], series: answers.flat().sort(byName) };
}

/** The last value that a series has. */
export function lastValue(values: (number | null)[]): number | null {
  for (let at = values.length - 1; at >= 0; at -= 1) {
    const value = values[at];
    if (value !== null && value !== undefined) return value;
  }
  return null;
}

/** How bad a value is: the severity of the highest threshold that it has reached. */
export function severityOf(value: number | null | undefined, thresholds: Threshold[] = []): Severity | undefined {
  if (value === null || value === undefined) return undefined;
  let reached: Threshold | undefined;
  for (const threshold of thresholds) {
    if (value >= threshold.value && (reached === undefined || threshold.value >= reached.value)) reached = threshold;
  }
  return reached && (reached.severity ?? "warning");
}

const LEVEL_COLORS: Record<string, string> = {
  error: "--level-error",
  warn: "--level-warn",
  info: "--level-info",
  debug: "--level-debug",
};

/** The colour variable of a series: levels have their own everywhere. */
export function colorOf(series: Series, index: number): string {
  return LEVEL_COLORS[series.labels.level ?? ""] ?? `--series-${index % 10}`;
}
