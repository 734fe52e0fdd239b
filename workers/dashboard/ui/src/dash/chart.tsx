// Lines over time on a canvas, by uPlot.
import type { JSX } from "preact";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import uPlot from "uplot";
import { formatValue } from "../lib/format";
import { useSize } from "../lib/hooks";
import { color, faded, useTheme } from "../lib/theme";
import { axisTime, shortTime } from "../lib/time";
import type { Threshold } from "../lib/types";
import { type Frame, colorOf } from "./data";

/** All charts of a page move their crosshairs together. */
const SYNC = "board";
const TIP_ROWS = 12;

interface Props {
  frame: Frame;
  unit: string;
  thresholds: Threshold[];
  /** Index of the only series to be shown. */
  only: number | undefined;
  onZoom: (from: number, to: number) => void;
  /** Tells at which time of the frame the crosshair is. */
  onCursor: (index: number | undefined) => void;
}

interface Tip {
  left: number;
  index: number;
}

/** Marks of an axis of bytes are at round numbers of KiB, MiB and so on. */
const BINARY_STEPS = Array.from({ length: 50 }, (_, power) => 2 ** power);

/** A lone value between gaps would be invisible as a line. */
function lonePoints(u: uPlot, seriesIndex: number): number[] {
  const values = u.data[seriesIndex] ?? [];
  const found: number[] = [];
  for (let at = 0; at < values.length; at += 1) {
    if (values[at] != null && values[at - 1] == null && values[at + 1] == null) found.push(at);
  }
  return found;
}

function yRange(thresholds: Threshold[]): uPlot.Range.Function {
  return (_, min, max) => {
    if (min == null || max == null) return [0, 1];
    // A threshold comes into sight before it is reached.
    const near = thresholds.map(({ value }) => value).filter((value) => value > max && value < max * 2);
    const top = Math.max(max, ...near);
    const low = Math.min(0, min);
    if (top === low) return [low, low + 1];
    const [start, end] = uPlot.rangeNum(low, top, 0.08, true);
    return [low === 0 ? 0 : (start ?? low), end ?? top];
  };
}

function drawThresholds(u: uPlot, thresholds: Threshold[]): void {
  const { ctx, bbox } = u;
  const low = u.scales.y?.min;
  const high = u.scales.y?.max;
  if (low == null || high == null) return;
  ctx.save();
  ctx.setLineDash([5 * devicePixelRatio, 4 * devicePixelRatio]);
  ctx.lineWidth = devicePixelRatio;
  for (const { value, severity } of thresholds) {
    if (value < low || value > high) continue;
    const y = Math.round(u.valToPos(value, "y", true));
    const line = color(`--severity-${severity ?? "warning"}`);
    ctx.fillStyle = faded(line, 0.06);
    ctx.fillRect(bbox.left, bbox.top, bbox.width, y - bbox.top);
    ctx.strokeStyle = faded(line, 0.8);
    ctx.beginPath();
    ctx.moveTo(bbox.left, y);
    ctx.lineTo(bbox.left + bbox.width, y);
    ctx.stroke();
  }
  ctx.restore();
}

export function Chart({ frame, unit, thresholds, only, onZoom, onCursor }: Props): JSX.Element {
  const [box, { width, height }] = useSize<HTMLDivElement>();
  const chart = useRef<uPlot | undefined>(undefined);
  const [tip, setTip] = useState<Tip>();
  const { version } = useTheme();
  const calls = useRef({ onZoom, onCursor });
  calls.current = { onZoom, onCursor };
  const ready = width > 0 && height > 0;
  const shape = JSON.stringify([frame.series.map((series) => [series.name, series.labels]), unit, thresholds, only, version, ready]);

  useLayoutEffect(() => {
    const target = box.current;
    if (!target || !ready) return;
    let inside = false;
    const text = color("--text-3");
    const grid = { stroke: color("--grid"), width: 1 };
    // A canvas inherits no font.
    const { fontSize, fontFamily } = getComputedStyle(document.documentElement);
    const size = Number.parseFloat(fontSize) * 0.85;
    const axis: uPlot.Axis = { stroke: text, font: `${size}px ${fontFamily}`, grid, ticks: { show: false }, gap: 6 };
    const fill = frame.series.length === 1 ? 0.14 : 0;
    const plot = new uPlot(
      {
        width,
        height,
        padding: [8, 20, 0, 0],
        legend: { show: false },
        cursor: {
          sync: { key: SYNC, setSeries: false, filters: { pub: (type) => type === "mousemove" || type === "mouseleave", sub: () => true } },
          drag: { x: true, y: false, setScale: false },
          points: { size: 6 },
          focus: { prox: -1 },
        },
        scales: { x: { time: true }, y: { range: yRange(thresholds) } },
        axes: [
          { ...axis, size: size * 2.4, space: size * 6.4, values: (_, marks, __, ___, step) => marks.map((mark) => axisTime(mark * 1000, step * 1000)) },
          {
            ...axis,
            space: 34,
            ...(unit === "bytes" && { incrs: BINARY_STEPS }),
            size: (_, labels) => Math.max(36, ...(labels ?? []).map((label) => 12 + label.length * size * 0.59)),
            values: (_, marks) => marks.map((mark) => formatValue(mark, unit)),
          },
        ],
        series: [
          {},
          ...frame.series.map((series, index): uPlot.Series => {
            const stroke = color(colorOf(series, index));
            return {
              label: series.name,
              stroke,
              width: 1.5,
              show: only === undefined || only === index,
              ...(fill > 0 && { fill: faded(stroke, fill) }),
              points: { show: true, size: 4, fill: stroke, filter: lonePoints },
            };
          }),
        ],
        hooks: {
          drawAxes: [(u) => drawThresholds(u, thresholds)],
          setSelect: [
            (u) => {
              const { left, width: selected } = u.select;
              if (selected < 4) return;
              calls.current.onZoom(u.posToVal(left, "x") * 1000, u.posToVal(left + selected, "x") * 1000);
              u.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
            },
          ],
          setCursor: [
            (u) => {
              const index = u.cursor.idx ?? undefined;
              calls.current.onCursor(index);
              setTip(inside && index !== undefined ? { index, left: (u.cursor.left ?? 0) + u.over.offsetLeft } : undefined);
            },
          ],
          ready: [
            (u) => {
              u.over.addEventListener("mouseenter", () => {
                inside = true;
              });
              u.over.addEventListener("mouseleave", () => {
                inside = false;
                setTip(undefined);
              });
            },
          ],
        },
      },
      [frame.times, ...frame.series.map((series) => series.values)],
      target,
    );
    chart.current = plot;
    return () => {
      plot.destroy();
      chart.current = undefined;
      setTip(undefined);
    };
  }, [shape]);

  useEffect(() => {
    if (ready) chart.current?.setSize({ width, height });
  }, [width, height, ready]);

  useEffect(() => {
    const plot = chart.current;
    if (!plot) return;
    plot.batch(() => {
      plot.setData([frame.times, ...frame.series.map((series) => series.values)], false);
      plot.setScale("x", { min: frame.from / 1000, max: frame.to / 1000 });
    });
  }, [frame, shape]);

  return (
    <div class="chart" ref={box}>
      {tip && <ChartTip frame={frame} unit={unit} only={only} tip={tip} width={width} />}
    </div>
  );
}

interface TipProps {
  frame: Frame;
  unit: string;
  only: number | undefined;
  tip: Tip;
  width: number;
}

function ChartTip({ frame, unit, only, tip, width }: TipProps): JSX.Element | null {
  const time = frame.times[tip.index];
  if (time === undefined) return null;
  const rows = frame.series
    .map((series, index) => ({ series, index, value: series.values[tip.index] ?? null }))
    .filter(({ index, value }) => value !== null && (only === undefined || only === index))
    .sort((a, b) => (b.value ?? 0) - (a.value ?? 0));
  const place = tip.left > width / 2 ? { right: `${width - tip.left + 12}px` } : { left: `${tip.left + 12}px` };
  return (
    <div class="tip" style={place}>
      <p class="tip-title">{shortTime(time * 1000)}</p>
      {rows.slice(0, TIP_ROWS).map(({ series, index, value }) => (
        <p key={`${series.query} ${series.name}`} class="tip-row">
          <span class="swatch" style={{ background: `var(${colorOf(series, index)})` }} />
          <span class="tip-name">{series.name}</span>
          <span class="number">{formatValue(value, unit)}</span>
        </p>
      ))}
      {rows.length > TIP_ROWS && <p class="dim">and {rows.length - TIP_ROWS} more</p>}
      {rows.length === 0 && <p class="dim">no data</p>}
    </div>
  );
}
