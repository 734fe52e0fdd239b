// Panels that show the value of this moment: stat, gauge, bar, table.
import type { JSX } from "preact";
import { formatValue, valueParts } from "../lib/format";
import { useSize } from "../lib/hooks";
import type { Panel } from "../lib/types";
import { type Frame, colorOf, severityOf } from "./data";

function current(frame: Frame, index: number): number | null {
  return frame.series[index]?.values[0] ?? null;
}

/** How a value has moved, as a line without axes. */
function Sparkline({ values }: { values: (number | null)[] }): JSX.Element {
  const [ref, { width, height }] = useSize<HTMLDivElement>();
  const known = values.filter((value): value is number => value !== null);
  const low = Math.min(0, ...known);
  const high = Math.max(...known);
  const span = high - low || 1;
  const place = (value: number, at: number): string =>
    `${((at / Math.max(1, values.length - 1)) * width).toFixed(1)} ${(height - 2 - ((value - low) / span) * (height - 5)).toFixed(1)}`;
  const runs: string[][] = [];
  let run: string[] | undefined;
  values.forEach((value, at) => {
    if (value === null) run = undefined;
    else if (run) run.push(place(value, at));
    else runs.push((run = [place(value, at)]));
  });
  return (
    <div class="sparkline" ref={ref} aria-hidden="true">
      {width > 0 && known.length > 1 && (
        <svg width={width} height={height}>
          {runs.map((points) => {
            const [first] = points[0]?.split(" ") ?? [];
            const [last] = points.at(-1)?.split(" ") ?? [];
            return (
              <g key={first}>
                <path class="spark-area" d={`M${points.join("L")}L${last} ${height}L${first} ${height}Z`} />
                <path class="spark-line" d={`M${points.join("L")}`} />
              </g>
            );
          })}
        </svg>
      )}
    </div>
  );
}

/** One large number for each series, with how it has moved. */
export function Stat({ panel, frame, history }: { panel: Panel; frame: Frame; history: Frame | undefined }): JSX.Element {
  return (
    <div class={`stats ${frame.series.length > 1 ? "many" : ""}`}>
      {frame.series.map((series, index) => {
        const value = current(frame, index);
        const [number, unit] = valueParts(value, panel.unit);
        const past = history?.series.find((other) => other.query === series.query && other.name === series.name);
        return (
          <div class={`stat ${severityOf(value, panel.thresholds) ?? "calm"}`} key={`${series.query} ${series.name}`}>
            {frame.series.length > 1 && <p class="stat-name">{series.name}</p>}
            <p class="stat-value">
              {number}
              {unit && <span class="stat-unit">{unit}</span>}
            </p>
            {past && <Sparkline values={past.values} />}
          </div>
        );
      })}
    </div>
  );
}

/** Where a gauge or bar ends: by its unit, else beyond the highest threshold or value. */
function upperBound(panel: Panel, values: (number | null)[]): number {
  const highest = Math.max(0, ...values.map((value) => value ?? 0));
  if (panel.unit === "percent") return Math.max(100, highest);
  if (panel.unit === "percentunit") return Math.max(1, highest);
  const threshold = Math.max(0, ...(panel.thresholds ?? []).map(({ value }) => value));
  return Math.max(highest, threshold * 1.25) || 1;
}

const START = 150;
const SWEEP = 240;

function arc(from: number, to: number, radius: number): string {
  const point = (part: number): string => {
    const angle = ((START + SWEEP * part) * Math.PI) / 180;
    return `${(60 + radius * Math.cos(angle)).toFixed(2)} ${(60 + radius * Math.sin(angle)).toFixed(2)}`;
  };
  return `M${point(from)}A${radius} ${radius} 0 ${(to - from) * SWEEP > 180 ? 1 : 0} 1 ${point(to)}`;
}

/** A number within its bounds, one dial for each series. */
export function Gauge({ panel, frame }: { panel: Panel; frame: Frame }): JSX.Element {
  const bound = upperBound(panel, frame.series.map((_, index) => current(frame, index)));
  const thresholds = [...(panel.thresholds ?? [])].sort((a, b) => a.value - b.value);
  return (
    <div class="gauges">
      {frame.series.map((series, index) => {
        const value = current(frame, index);
        const part = Math.min(1, Math.max(0, (value ?? 0) / bound));
        return (
          <figure class={`gauge ${severityOf(value, thresholds) ?? "calm"}`} key={`${series.query} ${series.name}`}>
            <svg viewBox="2 3 116 86" role="img" aria-label={`${series.name}: ${formatValue(value, panel.unit)}`}>
              <path class="gauge-track" d={arc(0, 1, 46)} />
              {thresholds.map(({ value: from, severity }, at) => {
                const start = Math.min(1, Math.max(0, from / bound));
                const end = Math.min(1, Math.max(0, (thresholds[at + 1]?.value ?? bound) / bound));
                return start < end ? <path key={from} class={`gauge-zone zone-${severity ?? "warning"}`} d={arc(start, end, 54.5)} /> : null;
              })}
              {part > 0 && <path class="gauge-value" d={arc(0, part, 46)} />}
              <text class="gauge-number" x="60" y="67" text-anchor="middle">
                {formatValue(value, panel.unit)}
              </text>
            </svg>
            {frame.series.length > 1 && <figcaption>{series.name}</figcaption>}
          </figure>
        );
      })}
    </div>
  );
}

/** A bar for each series, longest first. */
export function Bars({ panel, frame }: { panel: Panel; frame: Frame }): JSX.Element {
  const bound = Math.max(...frame.series.map((_, index) => Math.abs(current(frame, index) ?? 0))) || 1;
  const rows = frame.series
    .map((series, index) => ({ series, color: colorOf(series, index), value: current(frame, index) }))
    .sort((a, b) => (b.value ?? Number.NEGATIVE_INFINITY) - (a.value ?? Number.NEGATIVE_INFINITY));
  return (
    <ul class="bars">
      {rows.map(({ series, color, value }) => {
        const severity = severityOf(value, panel.thresholds);
        return (
          <li key={`${series.query} ${series.name}`}>
            <span class="bar-name" title={series.name}>
              {series.name}
            </span>
            <span class="bar-track">
              <span
                class="bar-fill"
                style={{
                  width: `${(Math.abs(value ?? 0) / bound) * 100}%`,
                  background: `var(${severity ? `--severity-${severity}` : color})`,
                }}
              />
            </span>
            <span class={`number ${severity ? `text-${severity}` : ""}`}>{formatValue(value, panel.unit)}</span>
          </li>
        );
      })}
    </ul>
  );
}

/** A row for each set of labels, a column for each query. */
export function Table({ panel, frame }: { panel: Panel; frame: Frame }): JSX.Element {
  const names = [...new Set(frame.series.flatMap((series) => Object.keys(series.labels)))];
  const queries = panel.queries ?? [];
  const rows = new Map<string, { labels: Record<string, string>; values: (number | null)[] }>();
  frame.series.forEach((series, index) => {
    const key = JSON.stringify(names.map((name) => series.labels[name] ?? null));
    const row = rows.get(key) ?? { labels: series.labels, values: queries.map(() => null) };
    row.values[series.query] = current(frame, index);
    rows.set(key, row);
  });
  const sorted = [...rows].sort(([, a], [, b]) => (b.values[0] ?? Number.NEGATIVE_INFINITY) - (a.values[0] ?? Number.NEGATIVE_INFINITY));
  const heading = (index: number): string => {
    const query = queries[index];
    return query?.legend && !query.legend.includes("{{") ? query.legend : queries.length === 1 ? "value" : (query?.query ?? query?.expr ?? "");
  };
  return (
    <div class="table-box">
      <table>
        <thead>
          <tr>
            {names.map((name) => (
              <th key={name} scope="col">
                {name}
              </th>
            ))}
            {queries.map((_, index) => (
              <th key={index} scope="col" class="number">
                {heading(index)}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {sorted.map(([key, { labels, values }]) => (
            <tr key={key}>
              {names.map((name) => (
                <td key={name}>{labels[name] ?? ""}</td>
              ))}
              {values.map((value, index) => {
                const severity = severityOf(value, panel.thresholds);
                return (
                  <td key={index} class={`number ${severity ? `text-${severity}` : ""}`}>
                    {formatValue(value, panel.unit)}
                  </td>
                );
              })}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
