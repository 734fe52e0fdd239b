// Builds parts of log queries, and takes log lines apart into what queries can ask of them.
import type { Json, LogLine } from "../lib/types";

/** A value as a query has it: quoted unless it is a plain word. */
export function quoteValue(value: string): string {
  return /^[\w./@-]+$/.test(value) && !/^(AND|OR|NOT)$/.test(value) && !value.startsWith("-")
    ? value
    : `"${value.replace(/[\\"]/g, "\\$&")}"`;
}

/** `q` narrowed down to logs that have, or do not have, the value. */
export function withCondition(q: string, key: string, value: string, negate: boolean): string {
  const condition = `${negate ? "NOT " : ""}${key}:${quoteValue(value)}`;
  const rest = q.trim();
  if (rest === "") return condition;
  const grouped = /\bOR\b/.test(rest.replace(/"(\\.|[^"])*"/g, "")) ? `(${rest})` : rest;
  return `${grouped} AND ${condition}`;
}

/** `q` restricted to some levels; all levels when none is named. */
export function withLevels(q: string, levels: string[]): string {
  if (levels.length === 0) return q;
  const condition = levels.map((level) => `level:${level}`).join(" OR ");
  return q.trim() === "" ? condition : `(${q}) AND (${condition})`;
}

export interface Detail {
  /** As queries name it; `undefined` for what can't be asked for by value. */
  key: string | undefined;
  name: string;
  value: string;
}

function flatten(prefix: string, value: Json, into: [string, string][]): void {
  if (value !== null && typeof value === "object" && !Array.isArray(value)) {
    for (const [key, inner] of Object.entries(value)) flatten(`${prefix}.${key}`, inner, into);
  } else {
    into.push([prefix, typeof value === "string" ? value : JSON.stringify(value)]);
  }
}

/** Everything a line says besides time and message, one value a row. */
export function detailsOf(line: LogLine): Detail[] {
  const details: Detail[] = [];
  for (const name of ["level", "service", "host"] as const) {
    const value = line[name];
    if (value) details.push({ key: name, name, value });
  }
  for (const [name, value] of Object.entries(line.tags ?? {})) {
    details.push({ key: `tags.${name}`, name: `tags.${name}`, value });
  }
  const fields: [string, string][] = [];
  for (const [name, value] of Object.entries(line.fields ?? {})) flatten(`fields.${name}`, value, fields);
  for (const [name, value] of fields) {
    const askable = value !== "null" && value !== "" && !value.startsWith("[") && !/[\s:"()]/.test(name);
    details.push({ key: askable ? name : undefined, name, value });
  }
  return details;
}

/** The first few fields as one line of `key=value`. */
export function fieldSummary(line: LogLine): string {
  const parts: string[] = [];
  for (const [key, value] of Object.entries(line.fields ?? {})) {
    if (parts.length === 6) break;
    if (value === null || typeof value === "object") continue;
    const text = String(value);
    if (text.length <= 60) parts.push(`${key}=${text}`);
  }
  return parts.join("  ");
}
