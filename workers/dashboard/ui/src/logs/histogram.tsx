// How many logs there are over time, stacked by level. Dragging chooses a time range.
import type { JSX } from "preact";
import { useRef, useState } from "preact/hooks";
import { formatCount, formatValue } from "../lib/format";
import { useSize } from "../lib/hooks";
import { axisTime, roundStep, shortTime } from "../lib/time";
import type { Histogram, HistogramBucket } from "../lib/types";

export const LEVELS = ["error", "warn", "info", "debug"];
const AXIS = 18;
const LEFT = 40;

/** Counts by level from the gravest up; what has none of the four levels comes last as `other`. */
export function levelCounts(bucket: HistogramBucket, shown: string[]): [level: string, count: number][] {
  const counts: [string, number][] = LEVELS.map((level) => [level, bucket.levels[level] ?? 0]);
  const known = counts.reduce((sum, [, count]) => sum + count, 0);
  counts.push(["other", Math.max(0, bucket.count - known)]);
  return counts.filter(([level, count]) => count > 0 && (shown.length === 0 || shown.includes(level)));
}

/** A round number not below `value`, for the top of an axis. */
function roundUp(value: number): number {
  if (value <= 5) return Math.max(1, Math.ceil(value));
  const power = 10 ** Math.floor(Math.log10(value));
  return ([1, 1.5, 2, 3, 4, 5, 6, 8, 10].find((factor) => factor * power >= value) ?? 10) * power;
}

/** Marks of a time axis at round local times. */
export function timeMarks(from: number, to: number, width: number): { at: number; step: number }[] {
  const step = roundStep(to - from, Math.max(2, Math.floor(width / 90))) * 1000;
  const shift = new Date(from).getTimezoneOffset() * 60_000;
  const marks = [];
  for (let at = Math.ceil((from - shift) / step) * step + shift; at <= to; at += step) marks.push({ at, step });
  return marks;
}

interface Props {
  histogram: Histogram;
  from: number;
  to: number;
  levels: string[];
  onZoom: (from: number, to: number) => void;
}

export function HistogramChart({ histogram, from, to, levels, onZoom }: Props): JSX.Element {
  const [ref, { width, height }] = useSize<HTMLDivElement>();
  const [hover, setHover] = useState<number>();
  const [drag, setDrag] = useState<{ start: number; end: number }>();
  const dragging = useRef(false);
  const plot = Math.max(0, width - LEFT);
  const bottom = height - AXIS;
  const scale = (time: number) => LEFT + ((time - from) / (to - from)) * plot;
  const timeAt = (x: number) => from + ((Math.min(width, Math.max(LEFT, x)) - LEFT) / plot) * (to - from);
  const columns = histogram.buckets.map((bucket) => {
    const parts = levelCounts(bucket, levels);
    return { bucket, parts, sum: parts.reduce((sum, [, count]) => sum + count, 0) };
  });
  const top = roundUp(columns.reduce((most, { sum }) => Math.max(most, sum), 0));
  const xOf = (event: PointerEvent) => event.clientX - (event.currentTarget as Element).getBoundingClientRect().left;

  const down = (event: PointerEvent) => {
    if (event.button !== 0) return;
    dragging.current = true;
    (event.currentTarget as Element).setPointerCapture(event.pointerId);
    const x = xOf(event);
    setDrag({ start: x, end: x });
  };
  const move = (event: PointerEvent) => {
    const x = xOf(event);
    const time = timeAt(x);
    const index = columns.findIndex(({ bucket }) => time >= bucket.time && time < bucket.time + histogram.interval);
    setHover(index < 0 || x < LEFT ? undefined : index);
    if (dragging.current) setDrag((old) => old && { ...old, end: x });
  };
  const up = () => {
    dragging.current = false;
    setDrag(undefined);
    if (!drag || Math.abs(drag.end - drag.start) < 5) return;
    const [a, b] = [timeAt(drag.start), timeAt(drag.end)].sort((left, right) => left - right) as [number, number];
    // Not below a second: a range of nothing shows nothing.
    onZoom(a, Math.max(b, a + 1000));
  };
  const cancel = () => {
    dragging.current = false;
    setDrag(undefined);
  };

  const hovered = hover === undefined ? undefined : columns[hover];
  return (
    <div class="histogram" ref={ref}>
      {width > 0 && to > from && (
        <svg
          width={width}
          height={height}
          role="img"
          aria-label={`${histogram.total} logs over time`}
          onPointerDown={down}
          onPointerMove={move}
          onPointerUp={up}
          onPointerCancel={cancel}
          onPointerLeave={() => setHover(undefined)}
        >
          {[top, top / 2].filter(Number.isInteger).map((mark) => {
            const y = bottom - (mark / top) * (bottom - 6);
            return (
              <g key={mark}>
                <line class="grid-line" x1={LEFT} x2={width} y1={y} y2={y} />
                <text class="axis-text" x={LEFT - 6} y={y + 3.5} text-anchor="end">
                  {formatValue(mark)}
                </text>
              </g>
            );
          })}
          {timeMarks(from, to, plot).map(({ at, step }) => {
            const x = scale(at);
            return x < LEFT + 16 || x > width - 20 ? null : (
              <text key={at} class="axis-text" x={x} y={height - 4} text-anchor="middle">
                {axisTime(at, step)}
              </text>
            );
          })}
          {columns.map(({ bucket, parts }, index) => {
            const x0 = Math.max(LEFT, scale(bucket.time));
            const x1 = Math.min(width, scale(bucket.time + histogram.interval));
            const gap = x1 - x0 > 4 ? 1 : 0;
            let y = bottom;
            return (
              <g key={bucket.time} class={hover !== undefined && hover !== index ? "bar-dim" : undefined}>
                {parts.map(([level, count]) => {
                  const size = Math.max(1, (count / top) * (bottom - 6));
                  y -= size;
                  return (
                    <rect key={level} class={`fill-${level}`} x={x0} y={y} width={Math.max(0.5, x1 - x0 - gap)} height={size} />
                  );
                })}
              </g>
            );
          })}
          <line class="base-line" x1={LEFT} x2={width} y1={bottom + 0.5} y2={bottom + 0.5} />
          {drag && (
            <rect
              class="selection"
              x={Math.max(LEFT, Math.min(drag.start, drag.end))}
              y={0}
              width={Math.abs(drag.end - drag.start)}
              height={bottom}
            />
          )}
        </svg>
      )}
      {hovered && !drag && <Tip column={hovered} interval={histogram.interval} x={scale(hovered.bucket.time)} width={width} />}
    </div>
  );
}

interface TipProps {
  column: { bucket: HistogramBucket; parts: [string, number][]; sum: number };
  interval: number;
  x: number;
  width: number;
}

function Tip({ column, interval, x, width }: TipProps): JSX.Element {
  const place = x > width / 2 ? { right: `${Math.max(0, width - x + 8)}px` } : { left: `${x + 20}px` };
  return (
    <div class="tip" style={place}>
      <p class="tip-title">
        {shortTime(column.bucket.time)} – {shortTime(column.bucket.time + interval)}
      </p>
      {column.parts.map(([level, count]) => (
        <p key={level} class="tip-row">
          <span class={`swatch fill-${level}`} />
          <span>{level}</span>
          <span class="number">{formatCount(count)}</span>
        </p>
      ))}
      {column.parts.length !== 1 && (
        <p class="tip-row total">
          <span>logs</span>
          <span class="number">{formatCount(column.sum)}</span>
        </p>
      )}
    </div>
  );
}
