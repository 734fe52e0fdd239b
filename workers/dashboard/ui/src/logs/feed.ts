// Log lines that grow at both ends: newer ones as they come, older ones on request.
import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { ApiError, type Params, get } from "../lib/api";
import { usePolled } from "../lib/hooks";
import { type Range, ends } from "../lib/time";
import type { Histogram, LogLine, LogPage } from "../lib/types";
import { withLevels } from "./query";

export const PAGE = 200;
/** So many lines are kept while new ones come in. */
const KEPT = 1000;
const BUCKETS = 90;

export interface Row {
  key: string;
  /** Milliseconds since 1970. */
  time: number;
  line: LogLine;
}

export interface Search {
  q: string;
  levels: string[];
  range: Range;
}

export interface Feed {
  rows: Row[];
  total: number | undefined;
  histogram: Histogram | undefined;
  histogramError: ApiError | undefined;
  from: number;
  to: number;
  more: (() => void) | undefined;
  loadingMore: boolean;
  error: ApiError | undefined;
  loading: boolean;
  reload: () => void;
}

interface Answer {
  key: string;
  from: number;
  to: number;
  page: LogPage;
  histogram: Histogram | undefined;
  histogramError: ApiError | undefined;
}

/** Where older lines are: behind a cursor, or before a time when lines behind the cursor were let go. */
type Tail = { cursor: string } | { before: number } | undefined;

interface Held {
  key: string;
  rows: Row[];
  tail: Tail;
}

/** Names lines for good, so that a line that is loaded again is known. Lines that are alike are numbered. */
function toRows(lines: LogLine[]): Row[] {
  const seen = new Map<string, number>();
  return lines.map((line) => {
    const base = line.id ?? JSON.stringify(line);
    const count = seen.get(base) ?? 0;
    seen.set(base, count + 1);
    return { key: count === 0 ? base : `${base}#${count}`, time: Date.parse(line.timestamp), line };
  });
}

/** Puts the newest page before what is there. The page is right about all of the time that it covers. */
export function mergeNewest(held: Held, page: LogPage): Held {
  const known = new Map(held.rows.map((row) => [row.key, row]));
  const newest = toRows(page.logs).map((row) => known.get(row.key) ?? row);
  const tail: Tail = page.cursor ? { cursor: page.cursor } : undefined;
  const oldest = newest.at(-1);
  const connected = newest.some((row) => known.has(row.key));
  if (!page.cursor || !oldest || !connected) return { ...held, rows: newest, tail };
  const present = new Set(newest.map((row) => row.key));
  const older = held.rows.filter((row) => row.time <= oldest.time && !present.has(row.key));
  const rows = [...newest, ...older];
  if (older.length === 0) return { ...held, rows, tail };
  // What the reader has asked for stays, however much it is.
  const most = Math.max(KEPT, held.rows.length);
  if (rows.length <= most) return { ...held, rows };
  const kept = rows.slice(0, most);
  return { ...held, rows: kept, tail: { before: (kept.at(-1)?.time ?? 0) + 1 } };
}

function appendOlder(held: Held, page: LogPage): Held {
  const known = new Set(held.rows.map((row) => row.key));
  const rows = [...held.rows, ...toRows(page.logs).filter((row) => !known.has(row.key))];
  return { ...held, rows, tail: page.cursor ? { cursor: page.cursor } : undefined };
}

async function load(key: string, search: Search, signal: AbortSignal): Promise<Answer> {
  const { from, to } = ends(search.range);
  const span: Params = { from: Math.floor(from), to: Math.ceil(to) };
  const [page, histogram] = await Promise.allSettled([
    get<LogPage>("logs/search", { q: withLevels(search.q, search.levels), ...span, limit: PAGE }, signal),
    // Without the levels, so that those which are hidden still show how many there are.
    get<Histogram>("logs/histogram", { q: search.q, ...span, buckets: BUCKETS }, signal),
  ]);
  // The histogram has the query as it was typed: its error points at the right column.
  if (histogram.status === "rejected" && (histogram.reason as ApiError).status === 400) throw histogram.reason;
  if (page.status === "rejected") throw page.reason;
  return {
    key,
    from,
    to,
    page: page.value,
    histogram: histogram.status === "fulfilled" ? histogram.value : undefined,
    histogramError: histogram.status === "rejected" ? (histogram.reason as ApiError) : undefined,
  };
}

/** Lines and histogram of a search, renewed every `interval` milliseconds (0 is never). */
export function useFeed(search: Search, interval: number): Feed {
  const key = JSON.stringify(search);
  const polled = usePolled<Answer>(key, (signal) => load(key, search, signal), interval);
  const [held, setHeld] = useState<Held>({ key: "", rows: [], tail: undefined });
  const [loadingMore, setLoadingMore] = useState(false);
  const [moreError, setMoreError] = useState<ApiError>();
  const answer = polled.data;
  // Lines of another query must not stand below this one's error.
  const stray = polled.error !== undefined && held.key !== key;
  const latest = useRef({ key, held, answer });
  latest.current = { key, held, answer };

  useEffect(() => {
    if (!answer) return;
    setMoreError(undefined);
    setHeld((old) => mergeNewest(old.key === answer.key ? old : { key: answer.key, rows: [], tail: undefined }, answer.page));
  }, [answer]);

  const more = useCallback(async () => {
    const { held: before, answer: base } = latest.current;
    if (!before.tail || !base) return;
    setLoadingMore(true);
    try {
      const place: Params = "cursor" in before.tail ? { cursor: before.tail.cursor } : {};
      const to = "before" in before.tail ? before.tail.before : Math.ceil(base.to);
      const q = withLevels(search.q, search.levels);
      const page = await get<LogPage>("logs/search", { q, from: Math.floor(base.from), to, limit: PAGE, ...place });
      setHeld((old) => (old.key === before.key ? appendOlder(old, page) : old));
      setMoreError(undefined);
    } catch (error) {
      setMoreError(error as ApiError);
    }
    setLoadingMore(false);
  }, [key]);

  return {
    rows: stray ? [] : held.rows,
    total: answer?.page.total,
    histogram: answer?.histogram,
    histogramError: answer?.histogramError,
    from: answer?.from ?? 0,
    to: answer?.to ?? 0,
    more: held.tail ? more : undefined,
    loadingMore,
    error: polled.error ?? moreError,
    loading: polled.loading,
    reload: polled.reload,
  };
}
