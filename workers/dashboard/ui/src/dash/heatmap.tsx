// A distribution over time: a row for each series, the darker the more.
import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { formatValue } from "../lib/format";
import { useSize } from "../lib/hooks";
import { color, faded, useTheme } from "../lib/theme";
import { axisTime, shortTime } from "../lib/time";
import type { Panel } from "../lib/types";
import { timeMarks } from "../logs/histogram";
import type { Frame, Series } from "./data";

const AXIS = 22;

/** The upper bound of a histogram's bucket, where the series is one. */
function boundOf(series: Series): number | undefined {
  const le = series.labels.le;
  if (le === undefined) return undefined;
  return le === "+Inf" ? Number.POSITIVE_INFINITY : Number(le);
}

export function Heatmap({ panel, frame }: { panel: Panel; frame: Frame }): JSX.Element {
  const [box, { width, height }] = useSize<HTMLDivElement>();
  const canvas = useRef<HTMLCanvasElement>(null);
  const [hover, setHover] = useState<{ row: number; column: number; x: number; y: number }>();
  const { version } = useTheme();
  const rows = [...frame.series].sort((a, b) => (boundOf(b) ?? 0) - (boundOf(a) ?? 0));
  const left = Math.min(width * 0.3, 14 + Math.max(0, ...rows.map(({ name }) => name.length)) * 6.6);
  const plotWidth = Math.max(0, width - left);
  const plotHeight = Math.max(0, height - AXIS);
  const highest = Math.max(0, ...rows.flatMap(({ values }) => values.map((value) => value ?? 0)));
  const scale = (time: number) => ((time - frame.from) / (frame.to - frame.from)) * plotWidth;
  const step = (frame.times[1] ?? 0) - (frame.times[0] ?? 0) || 60;

  useEffect(() => {
    const context = canvas.current?.getContext("2d");
    if (!context || !canvas.current || plotWidth === 0) return;
    const ratio = devicePixelRatio;
    canvas.current.width = Math.round(plotWidth * ratio);
    canvas.current.height = Math.round(plotHeight * ratio);
    const ink = color("--accent");
    const rowHeight = canvas.current.height / Math.max(1, rows.length);
    rows.forEach(({ values }, row) => {
      values.forEach((value, at) => {
        if (value === null || value <= 0 || highest === 0) return;
        // The root spreads the low values, which are most of them.
        context.fillStyle = faded(ink, 0.08 + 0.92 * Math.sqrt(value / highest));
        const end = scale((frame.times[at] ?? 0) * 1000) * ratio;
        const start = end - (step * 1000 * plotWidth * ratio) / (frame.to - frame.from);
        const y = Math.round(row * rowHeight);
        context.fillRect(Math.round(start), y, Math.max(1, Math.round(end) - Math.round(start) - 1), Math.round((row + 1) * rowHeight) - y - 1);
      });
    });
  });

  const move = (event: PointerEvent) => {
    const area = (event.currentTarget as Element).getBoundingClientRect();
    const x = event.clientX - area.left;
    const y = event.clientY - area.top;
    const time = (frame.from + (x / plotWidth) * (frame.to - frame.from)) / 1000;
    const column = Math.ceil((time - (frame.times[0] ?? 0)) / step);
    const row = Math.floor((y / plotHeight) * rows.length);
    setHover(column >= 0 && column < frame.times.length && row >= 0 && row < rows.length ? { row, column, x, y } : undefined);
  };
  const hovered = hover && rows[hover.row];
  return (
    <div class="heatmap" ref={box} data-version={version}>
      {rows.map(({ name }, row) => (
        <span
          key={name}
          class="heatmap-name"
          style={{ top: `${(row * plotHeight) / rows.length}px`, height: `${plotHeight / rows.length}px`, width: `${left - 8}px` }}
        >
          {name}
        </span>
      ))}
      <canvas
        ref={canvas}
        style={{ left: `${left}px`, width: `${plotWidth}px`, height: `${plotHeight}px` }}
        onPointerMove={move}
        onPointerLeave={() => setHover(undefined)}
      />
      {timeMarks(frame.from, frame.to, plotWidth).map(({ at, step: apart }) => {
        const x = left + scale(at);
        return x < left + 14 || x > width - 20 ? null : (
          <span key={at} class="heatmap-time" style={{ left: `${x}px` }}>
            {axisTime(at, apart)}
          </span>
        );
      })}
      {hover && hovered && (
        <div
          class="tip"
          style={hover.x > plotWidth / 2 ? { right: `${plotWidth - hover.x + 12}px` } : { left: `${left + hover.x + 12}px` }}
        >
          <p class="tip-title">{shortTime((frame.times[hover.column] ?? 0) * 1000)}</p>
          <p class="tip-row">
            <span class="tip-name">{hovered.name}</span>
            <span class="number">{formatValue(hovered.values[hover.column], panel.unit)}</span>
          </p>
        </div>
      )}
    </div>
  );
}
