// Variables of a dashboard, and putting their values into queries and titles.
import { get } from "../lib/api";
import { usePolled } from "../lib/hooks";
import type { Variable } from "../lib/types";

/** The choice that matches every value. */
export const ALL = "All";

export type Values = Record<string, string>;

/** What a text is: it decides how a value is written in it. */
export type Language = "metrics" | "logs" | "text";

const PLACE = /(=~|!~|!=|=|:)?("?)\$(?:\{(\w+)\}|(\w+))("?)/g;

function escapeQuotes(value: string): string {
  return value.replace(/[\\"]/g, "\\$&");
}

/** `text` with `$name` and `${name}` replaced. Names that are no variables stay as they are. */
export function substitute(text: string, values: Values, language: Language): string {
  return text.replace(PLACE, (whole, operator: string | undefined, open: string, braced: string, bare: string, close: string) => {
    const value = values[braced ?? bare];
    if (value === undefined) return whole;
    const before = operator ?? "";
    if (language === "text") return `${before}${open}${value}${close}`;
    const quoted = open !== "" && close !== "";
    if (value === ALL) {
      if (language === "logs") return `${before}*`;
      if (before === "=" || before === "=~") return '=~".*"';
      if (before === "!=" || before === "!~") return '!~".*"';
      return `${before}${open}.*${close}`;
    }
    const written = before.endsWith("~") ? value.replace(/[.*+?^${}()|[\]\\]/g, "\\$&") : value;
    // A part of a longer text: only what would end the quotes matters.
    if (quoted || open !== "" || close !== "") return `${before}${open}${escapeQuotes(written)}${close}`;
    return /^\w+$/.test(written) ? `${before}${written}` : `${before}"${escapeQuotes(written)}"`;
  });
}

export interface Choice {
  name: string;
  options: string[];
  /** `undefined` while the choices are not known. */
  value: string | undefined;
  error: string | undefined;
}

const VALUES_MS = 30_000;

async function load(variables: Variable[], signal: AbortSignal): Promise<Choice[]> {
  return Promise.all(
    variables.map(async ({ name, labelValues, values, default: initial }) => {
      const written = values ?? [];
      const first = (options: string[]) => initial ?? options[0];
      if (!labelValues) return { name, options: written, value: first(written), error: undefined };
      try {
        const path = `metrics/labels/${encodeURIComponent(labelValues.label)}/values`;
        const answer = await get<{ values: string[] }>(path, { metric: labelValues.metric }, signal);
        const options = [ALL, ...new Set([...written, ...answer.values])];
        return { name, options, value: first(written.length > 0 ? written : answer.values) ?? ALL, error: undefined };
      } catch (error) {
        if (signal.aborted) throw error;
        return { name, options: [ALL, ...written], value: first(written) ?? ALL, error: (error as Error).message };
      }
    }),
  );
}

/** The variables with their choices; what the address names goes before what the object says. */
export function useChoices(variables: Variable[], params: URLSearchParams): Choice[] {
  const key = JSON.stringify(variables);
  const polled = usePolled(key, (signal) => load(variables, signal), variables.length > 0 ? VALUES_MS : 0);
  return variables.map(({ name }) => {
    const found = polled.data?.find((choice) => choice.name === name) ?? { name, options: [], value: undefined, error: undefined };
    const chosen = params.get(`var-${name}`) ?? found.value;
    const options = chosen === undefined || found.options.includes(chosen) ? found.options : [...found.options, chosen];
    return { ...found, options, value: chosen };
  });
}
