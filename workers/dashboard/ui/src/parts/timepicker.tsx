// Chooses a time range: one of the usual, or exact ends.
import type { JSX } from "preact";
import { useRef, useState } from "preact/hooks";
import { useDismiss } from "../lib/hooks";
import { type Range, RELATIVE, ends, rangeLabel } from "../lib/time";
import { Icon } from "./icons";

/** As `<input type="datetime-local">` has it: local time, without a zone. */
function toInput(ms: number): string {
  const at = new Date(ms - new Date(ms).getTimezoneOffset() * 60_000);
  return at.toISOString().slice(0, 19);
}

export function TimePicker({ range, onChange }: { range: Range; onChange: (range: Range) => void }): JSX.Element {
  const [open, setOpen] = useState(false);
  const [problem, setProblem] = useState("");
  const box = useRef<HTMLDivElement>(null);
  const from = useRef<HTMLInputElement>(null);
  const to = useRef<HTMLInputElement>(null);
  useDismiss(box, open, () => setOpen(false));

  const choose = (next: Range) => {
    setOpen(false);
    setProblem("");
    onChange(next);
  };
  const apply = (event: Event) => {
    event.preventDefault();
    const start = new Date(from.current?.value ?? "").getTime();
    const end = new Date(to.current?.value ?? "").getTime();
    if (Number.isNaN(start) || Number.isNaN(end)) setProblem("Fill in both times.");
    else if (start >= end) setProblem("The start must be before the end.");
    else choose({ kind: "absolute", from: start, to: end });
  };
  const shown = open ? ends(range) : undefined;
  return (
    <div class="picker" ref={box}>
      <button type="button" class="button" aria-haspopup="dialog" aria-expanded={open} onClick={() => setOpen(!open)}>
        <Icon name="clock" />
        <span class="picker-label">{rangeLabel(range)}</span>
        <Icon name="down" />
      </button>
      {shown && (
        <div class="popover" role="dialog" aria-label="Time range">
          <ul class="choices">
            {RELATIVE.map(([text, label]) => (
              <li key={text}>
                <button
                  type="button"
                  aria-pressed={range.kind === "relative" && range.text === text}
                  onClick={() => choose({ kind: "relative", text })}
                >
                  {label}
                </button>
              </li>
            ))}
          </ul>
          <form class="absolute" onSubmit={apply}>
            <label>
              From
              <input ref={from} type="datetime-local" step="1" defaultValue={toInput(shown.from)} />
            </label>
            <label>
              To
              <input ref={to} type="datetime-local" step="1" defaultValue={toInput(shown.to)} />
            </label>
            {problem && (
              <p class="field-problem" role="alert">
                {problem}
              </p>
            )}
            <button type="submit" class="button primary">
              Apply
            </button>
          </form>
        </div>
      )}
    </div>
  );
}
