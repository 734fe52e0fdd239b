// The view of logs: search, histogram, lines.
import type { JSX } from "preact";
import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import type { ApiError } from "../lib/api";
import { formatCount } from "../lib/format";
import { href, useSetParams } from "../lib/route";
import { type Range, rangeOf, rangeParams, shortTime } from "../lib/time";
import type { Histogram } from "../lib/types";
import { Empty, Failure, Loading } from "../parts/bits";
import { Icon } from "../parts/icons";
import { TimePicker } from "../parts/timepicker";
import { useFeed } from "./feed";
import { HistogramChart, LEVELS } from "./histogram";
import { Lines } from "./lines";
import { withCondition } from "./query";

const DEFAULT_RANGE = "15m";
const LIVE_MS = 2000;

export function LogsPage({ params }: { params: URLSearchParams }): JSX.Element {
  const setParams = useSetParams();
  const q = params.get("q") ?? "";
  const levels = (params.get("level") ?? "").split(",").filter((level) => LEVELS.includes(level));
  const range = rangeOf(params, DEFAULT_RANGE);
  const relative = range.kind === "relative";
  const live = relative && params.get("live") !== "0";
  const feed = useFeed({ q, levels, range }, live ? LIVE_MS : 0);

  const setRange = (next: Range) => setParams(rangeParams(next, DEFAULT_RANGE));
  const search = (text: string) => {
    if (text === q) feed.reload();
    else setParams({ q: text });
  };
  const filter = useCallback(
    (key: string, value: string, negate: boolean) => setParams({ q: withCondition(q, key, value, negate) }),
    [q, setParams],
  );
  const wrong = feed.error?.status === 400 ? feed.error : undefined;
  const failed = feed.error && !wrong ? feed.error : undefined;

  return (
    <div class="logs-page">
      <h1 class="visually-hidden">Logs</h1>
      <div class="toolbar">
        <QueryBox q={q} onSearch={search} invalid={wrong !== undefined} />
        <TimePicker range={range} onChange={setRange} />
        {!relative && (
          <button type="button" class="button" title="Back to the last 15 minutes" onClick={() => setRange({ kind: "relative", text: DEFAULT_RANGE })}>
            <Icon name="reset" />
            <span class="wide-only">Latest</span>
          </button>
        )}
        <button
          type="button"
          class={`button live ${live ? "on" : ""}`}
          aria-pressed={live}
          disabled={!relative}
          title={relative ? "New logs come in by themselves" : "Live needs a range that ends now"}
          onClick={() => setParams({ live: live ? "0" : undefined })}
        >
          {live ? <span class="live-dot" /> : <Icon name="pause" />}
          Live
        </button>
      </div>
      {wrong && <QueryProblem q={q} error={wrong} />}
      <div class="summary">
        <LevelChips histogram={feed.histogram} levels={levels} onChange={(next) => setParams({ level: next.join(",") || undefined })} />
        <span class="total" role="status">
          {feed.total !== undefined && !feed.error && (
            <>
              <strong>{formatCount(feed.total)}</strong> {feed.total === 1 ? "log" : "logs"}
              <span class="wide-only dim">
                {" "}
                {shortTime(feed.from)} – {shortTime(feed.to)}
              </span>
            </>
          )}
        </span>
      </div>
      {wrong ? null : feed.histogram ? (
        <HistogramChart
          histogram={feed.histogram}
          from={feed.from}
          to={feed.to}
          levels={levels}
          onZoom={(from, to) => setRange({ kind: "absolute", from, to })}
        />
      ) : (
        <div class="histogram">{feed.histogramError && <p class="dim">No histogram: {feed.histogramError.message}</p>}</div>
      )}
      {failed && <Failure what="The logs could not be loaded" error={failed} retry={feed.reload} />}
      {feed.rows.length > 0 ? (
        <Lines rows={feed.rows} filter={filter} label="Log lines">
          <div class="more">
            {feed.more ? (
              <button type="button" class="button" disabled={feed.loadingMore} onClick={feed.more}>
                {feed.loadingMore ? "Loading…" : "Load older logs"}
              </button>
            ) : (
              <span class="dim">No older logs in this time range</span>
            )}
          </div>
        </Lines>
      ) : feed.loading && !feed.error ? (
        <Loading />
      ) : (
        !feed.error && <NoLogs q={q} levels={levels} setRange={setRange} clear={() => setParams({ q: undefined, level: undefined })} />
      )}
    </div>
  );
}

function QueryBox({ q, onSearch, invalid }: { q: string; onSearch: (q: string) => void; invalid: boolean }): JSX.Element {
  const [text, setText] = useState(q);
  const input = useRef<HTMLInputElement>(null);
  useEffect(() => setText(q), [q]);
  useEffect(() => {
    const key = (event: KeyboardEvent) => {
      const target = event.target as HTMLElement;
      const typing = target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName);
      if (event.key !== "/" || typing || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      input.current?.focus();
      input.current?.select();
    };
    document.addEventListener("keydown", key);
    return () => document.removeEventListener("keydown", key);
  }, []);
  return (
    <form
      class={`query ${invalid ? "invalid" : ""}`}
      role="search"
      onSubmit={(event) => {
        event.preventDefault();
        onSearch(text.trim());
      }}
    >
      <Icon name="search" />
      <input
        ref={input}
        type="search"
        value={text}
        aria-label="Query"
        aria-invalid={invalid}
        placeholder="Search logs: timeout AND service:checkout"
        autocomplete="off"
        autocapitalize="off"
        spellcheck={false}
        onInput={(event) => setText(event.currentTarget.value)}
        onKeyDown={(event) => {
          if (event.key === "Escape") event.currentTarget.blur();
        }}
      />
      {text !== "" && (
        <button
          type="button"
          class="icon-button"
          title="Clear the query"
          aria-label="Clear the query"
          onClick={() => {
            setText("");
            onSearch("");
            input.current?.focus();
          }}
        >
          <Icon name="close" />
        </button>
      )}
      <kbd title="Press / to type a query">/</kbd>
    </form>
  );
}

/** The query with the wrong place marked, and what is wrong. */
function QueryProblem({ q, error }: { q: string; error: ApiError }): JSX.Element {
  const characters = [...q];
  const at = error.column === undefined ? undefined : Math.min(Math.max(error.column - 1, 0), characters.length);
  return (
    <div class="query-problem" role="alert">
      {at !== undefined && q !== "" && (
        <code class="query-echo">
          {characters.slice(0, at).join("")}
          <mark>{characters[at] ?? " "}</mark>
          {characters.slice(at + 1).join("")}
        </code>
      )}
      <p>{error.message}</p>
      <p class="dim">
        Examples: <code>timeout</code> · <code>"connection reset"</code> · <code>level:error AND service:api</code> ·{" "}
        <code>fields.duration_ms:&gt;=500</code> · <code>NOT host:web-*</code>
      </p>
    </div>
  );
}

interface ChipsProps {
  histogram: Histogram | undefined;
  levels: string[];
  onChange: (levels: string[]) => void;
}

function LevelChips({ histogram, levels, onChange }: ChipsProps): JSX.Element {
  const counts = new Map<string, number>();
  for (const bucket of histogram?.buckets ?? []) {
    for (const level of LEVELS) counts.set(level, (counts.get(level) ?? 0) + (bucket.levels[level] ?? 0));
  }
  const toggle = (level: string) => {
    const next = levels.includes(level) ? levels.filter((other) => other !== level) : [...levels, level];
    onChange(next.length === LEVELS.length ? [] : LEVELS.filter((name) => next.includes(name)));
  };
  return (
    <div class="chips" role="group" aria-label="Levels">
      {LEVELS.map((level) => (
        <button
          key={level}
          type="button"
          class={`chip level-${level} ${levels.length > 0 && !levels.includes(level) ? "off" : ""}`}
          aria-pressed={levels.includes(level)}
          title={levels.includes(level) ? `Do not ask for ${level}` : `Show only ${level}${levels.length > 0 ? " and the others chosen" : ""}`}
          onClick={() => toggle(level)}
        >
          <span class="chip-dot" />
          {level}
          <span class="chip-count">{counts.has(level) ? formatCount(counts.get(level)) : ""}</span>
        </button>
      ))}
    </div>
  );
}

interface NoLogsProps {
  q: string;
  levels: string[];
  setRange: (range: Range) => void;
  clear: () => void;
}

function NoLogs({ q, levels, setRange, clear }: NoLogsProps): JSX.Element {
  const narrowed = q !== "" || levels.length > 0;
  return (
    <Empty title={narrowed ? "No log in this time range matches" : "No logs in this time range"}>
      <p>
        <button type="button" class="button" onClick={() => setRange({ kind: "relative", text: "24h" })}>
          Look at the last 24 hours
        </button>
        {narrowed && (
          <button type="button" class="button" onClick={clear}>
            Clear query and levels
          </button>
        )}
      </p>
      <p>
        Whether logs come in at all is on the page of <a href={href(["pipelines"])}>pipelines</a>.
      </p>
    </Empty>
  );
}
