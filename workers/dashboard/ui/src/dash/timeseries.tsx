// Lines over time, with a legend that shows the last values, or those at the crosshair.
import type { JSX } from "preact";
import { useCallback, useRef, useState } from "preact/hooks";
import { formatValue } from "../lib/format";
import type { Panel } from "../lib/types";
import { Chart } from "./chart";
import { type Frame, colorOf, lastValue, severityOf } from "./data";

interface Props {
  panel: Panel;
  frame: Frame;
  onZoom: (from: number, to: number) => void;
}

export function Timeseries({ panel, frame, onZoom }: Props): JSX.Element {
  const [cursor, setCursor] = useState<number>();
  const [chosen, setChosen] = useState<string>();
  const pending = useRef<{ index: number | undefined; frame: number }>({ index: undefined, frame: 0 });
  const unit = panel.unit ?? "short";
  const found = frame.series.findIndex((series) => `${series.query} ${series.name}` === chosen);
  const only = found < 0 ? undefined : found;

  // The mouse moves more often than the screen is drawn.
  const onCursor = useCallback((index: number | undefined) => {
    pending.current.index = index;
    if (pending.current.frame) return;
    pending.current.frame = requestAnimationFrame(() => {
      pending.current.frame = 0;
      setCursor(pending.current.index);
    });
  }, []);

  return (
    <div class="timeseries">
      <Chart frame={frame} unit={unit} thresholds={panel.thresholds ?? []} only={only} onZoom={onZoom} onCursor={onCursor} />
      <ul class="legend">
        {frame.series.map((series, index) => {
          const key = `${series.query} ${series.name}`;
          const value = cursor === undefined ? lastValue(series.values) : (series.values[cursor] ?? null);
          const severity = severityOf(value, panel.thresholds);
          return (
            <li key={key}>
              <button
                type="button"
                class={only !== undefined && only !== index ? "off" : ""}
                aria-pressed={only === index}
                title={only === index ? "Show all series" : `Show only ${series.name}`}
                onClick={() => setChosen(only === index ? undefined : key)}
              >
                <span class="swatch" style={{ background: `var(${colorOf(series, index)})` }} />
                <span class="legend-name">{series.name}</span>
                <span class={`number ${severity ? `text-${severity}` : ""}`}>{formatValue(value, unit)}</span>
              </button>
            </li>
          );
        })}
      </ul>
    </div>
  );
}
