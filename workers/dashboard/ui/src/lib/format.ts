// How numbers are written.

const SI: [number, string][] = [
  [1e12, "T"],
  [1e9, "G"],
  [1e6, "M"],
  [1e3, "k"],
];
const BINARY: [number, string][] = [
  [2 ** 40, "TiB"],
  [2 ** 30, "GiB"],
  [2 ** 20, "MiB"],
  [2 ** 10, "KiB"],
];
const SECONDS: [number, string][] = [
  [86_400, "d"],
  [3600, "h"],
  [60, "min"],
  [1, "s"],
  [1e-3, "ms"],
  [1e-6, "µs"],
];

const grouped = new Intl.NumberFormat();
const digits = new Map<string, Intl.NumberFormat>();

/** Three significant digits, no needless zeros; whole numbers up to 9999 as they are. */
function plain(value: number): string {
  const size = Math.abs(value);
  if (size >= 100 || Number.isInteger(value)) return cached(0, value);
  return size >= 10 ? cached(1, value) : size >= 1 || size === 0 ? cached(2, value) : small(value);
}

function cached(fraction: number, value: number): string {
  const key = `f${fraction}`;
  let format = digits.get(key);
  if (!format) {
    format = new Intl.NumberFormat(undefined, { maximumFractionDigits: fraction, useGrouping: false });
    digits.set(key, format);
  }
  // No negative zero.
  return format.format(Math.abs(value) < 0.5 * 10 ** -fraction ? 0 : value);
}

function small(value: number): string {
  let format = digits.get("s");
  if (!format) {
    format = new Intl.NumberFormat(undefined, { maximumSignificantDigits: 3 });
    digits.set("s", format);
  }
  return Math.abs(value) < 1e-4 ? value.toExponential(1) : format.format(value);
}

function scaled(value: number, scale: [number, string][], base: string): [string, string] {
  const size = Math.abs(value);
  for (const [factor, unit] of scale) {
    // 999,950 reads better as 1 M than as 1000 k.
    if (size >= factor * 0.99995) return [plain(value / factor), unit];
  }
  return [plain(value), base];
}

/** A number and its unit apart, for a stat that writes them in different sizes. */
export function valueParts(value: number | null | undefined, unit = "short"): [number: string, unit: string] {
  if (value === null || value === undefined || Number.isNaN(value)) return ["–", ""];
  if (!Number.isFinite(value)) return [value > 0 ? "∞" : "−∞", ""];
  switch (unit) {
    case "":
    case "short":
      return Math.abs(value) < 10_000 ? [plain(value), ""] : scaled(value, SI, "");
    case "percent":
      return [plain(value), "%"];
    case "percentunit":
      return [plain(value * 100), "%"];
    case "bytes":
      return scaled(value, BINARY, "B");
    case "ms":
      return value === 0 ? ["0", "ms"] : scaled(value / 1000, SECONDS, "s");
    case "s":
      return value === 0 ? ["0", "s"] : scaled(value, SECONDS, "s");
    case "reqps": {
      const [number, prefix] = Math.abs(value) < 10_000 ? [plain(value), ""] : scaled(value, SI, "");
      return [number, `${prefix}/s`];
    }
    default: {
      const [number, prefix] = Math.abs(value) < 10_000 ? [plain(value), ""] : scaled(value, SI, "");
      return [number, `${prefix} ${unit}`.trim()];
    }
  }
}

/** A number with its unit. */
export function formatValue(value: number | null | undefined, unit = "short"): string {
  const [number, suffix] = valueParts(value, unit);
  if (!suffix) return number;
  return /^(%|\/s|[kMGT](\/s)?)$/.test(suffix) ? number + suffix : `${number} ${suffix}`;
}

/** A count, exact, with the digits grouped as the reader is used to. */
export function formatCount(count: number | null | undefined): string {
  return count === null || count === undefined ? "–" : grouped.format(count);
}
