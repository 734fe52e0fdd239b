// One dashboard.
import type { JSX } from "preact";
import { useCallback, useMemo, useRef, useState } from "preact/hooks";
import { get } from "../lib/api";
import { usePolled } from "../lib/hooks";
import { href, useSetParams } from "../lib/route";
import { type Range, parseDuration, rangeOf, rangeParams } from "../lib/time";
import type { Dashboard } from "../lib/types";
import { Empty, Failure, Loading } from "../parts/bits";
import { Icon } from "../parts/icons";
import { TimePicker } from "../parts/timepicker";
import { layout } from "./layout";
import { type Context, PanelView } from "./panel";
import { ALL, useChoices } from "./vars";

const OBJECT_MS = 5000;
const REFRESHES = ["0", "2s", "5s", "10s", "30s", "1m", "5m"];

export function BoardPage({ name, params }: { name: string; params: URLSearchParams }): JSX.Element {
  const polled = usePolled(name, (signal) => get<Dashboard>(`dashboards/${encodeURIComponent(name)}`, {}, signal), OBJECT_MS);
  // Asked for again and again, since the object may be edited; what is the same must stay the same object.
  const text = JSON.stringify(polled.data);
  const board = useMemo(() => (text === undefined ? undefined : (JSON.parse(text) as Dashboard)), [text]);
  if (board && polled.error?.status !== 404) return <Board board={board} params={params} />;
  if (polled.error?.status === 404) {
    return (
      <Empty title={`There is no dashboard “${name}”`}>
        <a href={href(["dashboards"])}>See all dashboards</a>
      </Empty>
    );
  }
  return polled.error ? <Failure what="The dashboard could not be loaded" error={polled.error} retry={polled.reload} /> : <Loading />;
}

function Board({ board, params }: { board: Dashboard; params: URLSearchParams }): JSX.Element {
  const { spec } = board;
  const setParams = useSetParams();
  const fallback = spec.range && parseDuration(spec.range) ? spec.range : "1h";
  const range = rangeOf(params, fallback);
  const choices = useChoices(spec.variables ?? [], params);
  const [round, setRound] = useState(0);
  const own = parseDuration(spec.refresh) === 0 ? "0" : (spec.refresh ?? "10s");
  const refreshText = params.get("refresh") ?? own;
  const refresh = range.kind === "relative" ? (parseDuration(refreshText) ?? 10_000) : 0;
  const setRange = (next: Range) => setParams(rangeParams(next, fallback));
  const zoom = useRef(setRange);
  zoom.current = setRange;
  const onZoom = useCallback((from: number, to: number) => zoom.current({ kind: "absolute", from, to: Math.max(to, from + 1000) }), []);
  const values = Object.fromEntries(choices.map((choice) => [choice.name, choice.value ?? ALL]));
  const ready = choices.every((choice) => choice.value !== undefined);
  const context: Context = { range, values, refresh: refresh === 0 ? 0 : Math.max(1000, refresh), round, onZoom };
  const refreshes = REFRESHES.includes(refreshText) ? REFRESHES : [...REFRESHES, refreshText];

  return (
    <div class="board-page">
      <div class="toolbar board-bar">
        <h1>{spec.title ?? board.name}</h1>
        {choices.map((choice) => (
          <label key={choice.name} class="variable" title={choice.error}>
            <span class="variable-name">{choice.name}</span>
            <select
              value={choice.value ?? ""}
              aria-invalid={choice.error !== undefined}
              onChange={(event) => setParams({ [`var-${choice.name}`]: event.currentTarget.value })}
            >
              {choice.options.map((option) => (
                <option key={option} value={option}>
                  {option}
                </option>
              ))}
            </select>
          </label>
        ))}
        <span class="spring" />
        <TimePicker range={range} onChange={setRange} />
        {range.kind === "absolute" && (
          <button type="button" class="button" title="Back to the present" onClick={() => setRange({ kind: "relative", text: fallback })}>
            <Icon name="reset" />
            <span class="wide-only">Latest</span>
          </button>
        )}
        <div class="joined">
          <button type="button" class="button" title="Load anew" aria-label="Load anew" onClick={() => setRound(round + 1)}>
            <Icon name="reload" />
          </button>
          <select
            aria-label="How often to load anew"
            title={range.kind === "absolute" ? "A fixed time range does not change" : "How often to load anew"}
            disabled={range.kind === "absolute"}
            value={refreshText}
            onChange={(event) => setParams({ refresh: event.currentTarget.value === own ? undefined : event.currentTarget.value })}
          >
            {refreshes.map((text) => (
              <option key={text} value={text}>
                {parseDuration(text) === 0 ? "off" : text}
              </option>
            ))}
          </select>
        </div>
      </div>
      {(spec.panels ?? []).length === 0 ? (
        <Empty title="This dashboard has no panels">
          Add some under <code>spec.panels</code> of the object <code>{board.name}</code>; they appear here at once.
        </Empty>
      ) : ready ? (
        <div class="grid">
          {layout(spec.panels ?? []).map((size, index) => {
            const panel = spec.panels?.[index];
            return panel && <PanelView key={`${index} ${panel.type} ${panel.title}`} panel={panel} size={size} context={context} />;
          })}
        </div>
      ) : (
        <Loading />
      )}
    </div>
  );
}
