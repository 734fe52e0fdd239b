/// <reference types="node" />
// What the page computes without a browser.
import assert from "node:assert/strict";
import { test } from "node:test";
import { layout } from "../src/dash/layout";
import { substitute } from "../src/dash/vars";
import { formatValue } from "../src/lib/format";
import { humanDuration, parseDuration, roundStep } from "../src/lib/time";
import type { LogLine, Panel } from "../src/lib/types";
import { mergeNewest } from "../src/logs/feed";
import { quoteValue, withCondition, withLevels } from "../src/logs/query";

test("variables are written as their place needs it", () => {
  const values = { service: "api", odd: 'a "b" c', re: "a.b", all: "All" };
  const metrics = (text: string) => substitute(text, values, "metrics");
  assert.equal(metrics("rate m service=$service by host"), "rate m service=api by host");
  assert.equal(metrics("rate m a=$odd"), 'rate m a="a \\"b\\" c"');
  assert.equal(metrics('rate(m{a="$odd"}[5m])'), 'rate(m{a="a \\"b\\" c"}[5m])');
  assert.equal(metrics('m{a=~"$re"}'), 'm{a=~"a\\\\.b"}');
  assert.equal(metrics("rate m service=$all by host"), 'rate m service=~".*" by host');
  assert.equal(metrics('m{a="$all"}'), 'm{a=~".*"}');
  assert.equal(metrics("rate m a=$unknown"), "rate m a=$unknown");
  assert.equal(substitute("level:error AND service:$all", values, "logs"), "level:error AND service:*");
  assert.equal(substitute('service:"$odd"', values, "logs"), 'service:"a \\"b\\" c"');
  assert.equal(substitute("Latency of ${service}, $all", values, "text"), "Latency of api, All");
});

test("conditions are added to queries without changing what the rest means", () => {
  assert.equal(withCondition("", "service", "api", false), "service:api");
  assert.equal(withCondition("a OR b", "host", "web 1", true), '(a OR b) AND NOT host:"web 1"');
  assert.equal(withCondition('"this OR that"', "service", "api", false), '"this OR that" AND service:api');
  assert.equal(withLevels("a OR b", ["error", "warn"]), "(a OR b) AND (level:error OR level:warn)");
  for (const value of ["AND", "-x", "a*", "a:b", ""]) assert.match(quoteValue(value), /^".*"$/);
});

const line = (second: number, message = `m${second}`): LogLine => ({
  timestamp: new Date(second * 1000).toISOString(),
  message,
});

test("new lines come before the old ones, each once", () => {
  const empty = { key: "", rows: [], tail: undefined };
  const first = mergeNewest(empty, { logs: [line(3), line(2)], total: 4, cursor: "c1" });
  const second = mergeNewest(first, { logs: [line(4), line(3)], total: 5, cursor: "c2" });
  assert.deepEqual(
    second.rows.map((row) => row.line.message),
    ["m4", "m3", "m2"],
  );
  assert.deepEqual(second.tail, { cursor: "c1" }, "older lines go on behind the oldest that is shown");
  assert.equal(second.rows[1], first.rows[0], "a line that is known stays the same object");
});

test("a late line finds its place, and lines that are alike all stay", () => {
  const empty = { key: "", rows: [], tail: undefined };
  const first = mergeNewest(empty, { logs: [line(5), line(1)], total: 2, cursor: "c1" });
  const second = mergeNewest(first, { logs: [line(5), line(3, "late"), line(1), line(1)], total: 4, cursor: "c2" });
  assert.deepEqual(
    second.rows.map((row) => row.line.message),
    ["m5", "late", "m1", "m1"],
  );
  assert.equal(new Set(second.rows.map((row) => row.key)).size, 4);
});

test("after a gap the old lines go, for what lies between is not known", () => {
  const empty = { key: "", rows: [], tail: undefined };
  const first = mergeNewest(empty, { logs: [line(2), line(1)], total: 9, cursor: "c1" });
  const second = mergeNewest(first, { logs: [line(9), line(8)], total: 99, cursor: "c2" });
  assert.deepEqual(
    second.rows.map((row) => row.line.message),
    ["m9", "m8"],
  );
  assert.deepEqual(second.tail, { cursor: "c2" });
});

test("panels of a row come out even, and heights that are given stay", () => {
  const sizes = (panels: Panel[]) => layout(panels).map(({ rows }) => rows);
  const stat: Panel = { type: "stat", width: 3 };
  assert.deepEqual(sizes([stat, stat, stat, { type: "alerts", width: 3 }]), [4, 4, 4, 4]);
  assert.deepEqual(sizes([stat, stat, stat, stat, { type: "logs", width: 12 }]), [3, 3, 3, 3, 8]);
  assert.deepEqual(sizes([{ width: 6, height: 10 }, { width: 6 }]), [10, 10]);
  assert.deepEqual(sizes([{ type: "logs", width: 8 }, { type: "text", width: 4, height: 2 }]), [4, 2]);
});

test("numbers are short and have their unit", () => {
  const cases: [number, string | undefined, string][] = [
    [0, undefined, "0"],
    [9999, "short", "9999"],
    [12_345, "short", "12.3k"],
    [999_999, "short", "1M"],
    [1536, "bytes", "1.5 KiB"],
    [0.1234, "percentunit", "12.3%"],
    [1500, "ms", "1.5 s"],
    [0.002, "s", "2 ms"],
    [12.345, "reqps", "12.3/s"],
    [3, "orders", "3 orders"],
    [Number.NaN, "ms", "–"],
  ];
  for (const [value, unit, text] of cases) assert.equal(formatValue(value, unit), text);
});

test("durations", () => {
  assert.equal(parseDuration("1h30m"), 5_400_000);
  assert.equal(parseDuration("0"), 0);
  assert.equal(parseDuration("500ms"), 500);
  assert.equal(parseDuration("5"), undefined);
  assert.equal(humanDuration(125_000), "2 min 5 s");
  assert.equal(roundStep(3_600_000, 240), 15);
});
