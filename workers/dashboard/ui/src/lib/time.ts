// Durations, time ranges, and how times are written.
import { now } from "./api";

const UNITS: Record<string, number> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000 };

/** Milliseconds of a duration in Prometheus' notation (`1h30m`); `undefined` when it is none. */
export function parseDuration(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  if (text === "0") return 0;
  if (!/^(\d+(ms|[smhdw]))+$/.test(text)) return undefined;
  let total = 0;
  for (const [, count, unit] of text.matchAll(/(\d+)(ms|[smhdw])/g)) total += Number(count) * (UNITS[unit ?? ""] ?? 0);
  return total;
}

/** A duration in words for a person: at most two units, `2 h 5 min`. */
export function humanDuration(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1000));
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return minutes < 10 && seconds % 60 ? `${minutes} min ${seconds % 60} s` : `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 24) return minutes % 60 ? `${hours} h ${minutes % 60} min` : `${hours} h`;
  const days = Math.floor(hours / 24);
  return hours % 24 && days < 7 ? `${days} d ${hours % 24} h` : `${days} d`;
}

/** A span of time that is on screen: the last so-and-so long, or fixed ends. */
export type Range = { kind: "relative"; text: string } | { kind: "absolute"; from: number; to: number };

export const RELATIVE: [text: string, label: string][] = [
  ["5m", "Last 5 minutes"],
  ["15m", "Last 15 minutes"],
  ["1h", "Last hour"],
  ["6h", "Last 6 hours"],
  ["24h", "Last 24 hours"],
  ["7d", "Last 7 days"],
];

/** The range that an address names, else `fallback`. */
export function rangeOf(params: URLSearchParams, fallback: string): Range {
  const from = Number(params.get("from"));
  const to = Number(params.get("to"));
  if (params.has("from") && Number.isFinite(from) && Number.isFinite(to) && from < to) {
    return { kind: "absolute", from, to };
  }
  const text = params.get("range") ?? "";
  return { kind: "relative", text: parseDuration(text) ? text : fallback };
}

/** The range as parts of an address; the default one is left out. */
export function rangeParams(range: Range, fallback: string): Record<string, string | undefined> {
  if (range.kind === "absolute") {
    return { range: undefined, from: String(Math.floor(range.from)), to: String(Math.ceil(range.to)) };
  }
  return { range: range.text === fallback ? undefined : range.text, from: undefined, to: undefined };
}

/** The ends of a range at this moment, in milliseconds since 1970. */
export function ends(range: Range): { from: number; to: number } {
  if (range.kind === "absolute") return { from: range.from, to: range.to };
  const to = now();
  return { from: to - (parseDuration(range.text) ?? 3_600_000), to };
}

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const minutes = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const precise = new Intl.DateTimeFormat(undefined, {
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
  fractionalSecondDigits: 3,
  hourCycle: "h23",
});
const day = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });
const fullDay = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short", year: "numeric" });
const zone = new Intl.DateTimeFormat(undefined, { timeZoneName: "short", hour: "2-digit" });

function sameDay(a: Date, b: Date): boolean {
  return a.getFullYear() === b.getFullYear() && a.getMonth() === b.getMonth() && a.getDate() === b.getDate();
}

/** `14:02:11.123`. */
export function preciseTime(ms: number): string {
  return precise.format(ms);
}

/** `12 Mar`. */
export function shortDay(ms: number): string {
  return day.format(ms);
}

/** Whether the time is on the reader's present day. */
export function isToday(ms: number): boolean {
  return sameDay(new Date(ms), new Date());
}

/** `14:02:11`, with the day unless it is today. */
export function shortTime(ms: number): string {
  return isToday(ms) ? clock.format(ms) : `${day.format(ms)} ${clock.format(ms)}`;
}

/** Everything: day, time with milliseconds, and the zone. */
export function fullTime(ms: number): string {
  const name = zone.formatToParts(ms).find((part) => part.type === "timeZoneName")?.value ?? "";
  return `${fullDay.format(ms)} ${precise.format(ms)} ${name}`.trim();
}

/** A mark on a time axis whose marks are `step` milliseconds apart. */
export function axisTime(ms: number, step: number): string {
  if (step < 60_000) return clock.format(ms);
  if (step >= 86_400_000) return day.format(ms);
  const at = new Date(ms);
  return at.getHours() === 0 && at.getMinutes() === 0 ? day.format(ms) : minutes.format(ms);
}

/** Both ends of a range for a button. */
export function rangeLabel(range: Range): string {
  if (range.kind === "relative") {
    return RELATIVE.find(([text]) => text === range.text)?.[1] ?? `Last ${range.text}`;
  }
  const from = shortTime(range.from);
  const to = sameDay(new Date(range.from), new Date(range.to)) ? clock.format(range.to) : shortTime(range.to);
  return `${from} – ${to}`;
}

const STEPS = [1, 2, 5, 10, 15, 20, 30, 60, 120, 300, 600, 900, 1200, 1800, 3600, 7200, 14_400, 21_600, 43_200, 86_400];

/** The smallest round number of seconds that cuts `ms` into at most `parts`. */
export function roundStep(ms: number, parts: number): number {
  const wanted = ms / 1000 / parts;
  return STEPS.find((step) => step >= wanted) ?? Math.ceil(wanted / 86_400) * 86_400;
}
