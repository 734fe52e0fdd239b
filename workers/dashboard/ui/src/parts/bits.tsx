// Small parts that all views share.
import type { ComponentChildren, JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import type { ApiError } from "../lib/api";
import { humanDuration, fullTime, shortTime } from "../lib/time";
import type { AlertState, Problem } from "../lib/types";
import { Icon } from "./icons";

/** Nothing to show, and what to do about it. */
export function Empty({ title, children }: { title: string; children?: ComponentChildren }): JSX.Element {
  return (
    <div class="empty">
      <p class="empty-title">{title}</p>
      {children && <div class="empty-text">{children}</div>}
    </div>
  );
}

/** Why something is not there. */
export function Failure({ what, error, retry }: { what: string; error: ApiError; retry?: () => void }): JSX.Element {
  return (
    <div class="failure" role="alert">
      <Icon name="warn" />
      <div>
        <p class="failure-title">{what}</p>
        <p class="failure-text">{error.message}</p>
      </div>
      {retry && (
        <button type="button" class="button small" onClick={retry}>
          Try again
        </button>
      )}
    </div>
  );
}

export function Loading(): JSX.Element {
  return (
    <div class="loading" role="status">
      <span class="visually-hidden">Loading</span>
    </div>
  );
}

const STATE_NAMES: Record<AlertState, string> = {
  Firing: "Firing",
  Pending: "Pending",
  Inactive: "OK",
  NoData: "No data",
  Stalled: "Stalled",
  Error: "Error",
};

export function StateBadge({ state, resolved }: { state: AlertState; resolved?: boolean }): JSX.Element {
  const text = resolved ? "Resolved" : (STATE_NAMES[state] ?? state);
  return <span class={`badge state-${state.toLowerCase()}`}>{text}</span>;
}

const LEVELS = new Set(["error", "warn", "info", "debug"]);

/** The class that carries a level's colour. */
export function levelClass(level: string | null | undefined): string {
  return `level-${level && LEVELS.has(level) ? level : "other"}`;
}

/** How long ago a time was; the time itself as a tooltip. */
export function Ago({ time, at }: { time: string | null | undefined; at: number }): JSX.Element {
  const ms = time ? Date.parse(time) : Number.NaN;
  if (Number.isNaN(ms)) return <span class="dim">–</span>;
  return (
    <time dateTime={time ?? ""} title={fullTime(ms)}>
      {humanDuration(at - ms)} ago
    </time>
  );
}

/** Since when something is so. */
export function Since({ time, at }: { time: string | null | undefined; at: number }): JSX.Element {
  const ms = time ? Date.parse(time) : Number.NaN;
  if (Number.isNaN(ms)) return <span class="dim">–</span>;
  return (
    <time dateTime={time ?? ""} title={fullTime(ms)}>
      {shortTime(ms)} <span class="dim">({humanDuration(at - ms)})</span>
    </time>
  );
}

export function LabelList({ labels, skip = [] }: { labels: Record<string, string>; skip?: string[] }): JSX.Element | null {
  const entries = Object.entries(labels).filter(([key]) => !skip.includes(key));
  if (entries.length === 0) return null;
  return (
    <ul class="labels">
      {entries.map(([key, value]) => (
        <li key={key}>
          <span class="label-key">{key}</span>
          <span class="label-value">{value}</span>
        </li>
      ))}
    </ul>
  );
}

/** Files that could not be loaded; everything else goes on without them. */
export function Problems({ problems, of }: { problems: Problem[]; of: string }): JSX.Element | null {
  if (problems.length === 0) return null;
  return (
    <section class="problems" role="alert" aria-label="Load errors">
      <h2>
        <Icon name="warn" />
        {problems.length === 1 ? "An object file has a problem" : `Object files have ${problems.length} problems`}
      </h2>
      <p class="dim">Correct the file and save it: it is read again at once. All other {of} go on.</p>
      <ul>
        {problems.map((problem) => (
          <li key={`${problem.file}:${problem.line}:${problem.message}`}>
            <code class="problem-place">
              {[problem.file, problem.line, problem.line ? problem.column : null].filter((part) => part != null).join(":")}
            </code>
            <span class="problem-text">{problem.message}</span>
          </li>
        ))}
      </ul>
    </section>
  );
}

/** Copies a text; says so for a moment. */
export function CopyButton({ text, label }: { text: string; label: string }): JSX.Element {
  const [done, setDone] = useState(false);
  const timer = useRef(0);
  useEffect(() => () => window.clearTimeout(timer.current), []);
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      // Without a secure context there is no clipboard; the text can still be selected.
      return;
    }
    setDone(true);
    timer.current = window.setTimeout(() => setDone(false), 1200);
  };
  return (
    <button type="button" class="icon-button" title={done ? "Copied" : label} aria-label={done ? "Copied" : label} onClick={copy}>
      {done ? <span class="copied">✓</span> : <Icon name="copy" />}
    </button>
  );
}
