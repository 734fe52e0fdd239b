// The view of pipelines: what became of every record, and how far behind they are.
import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { get } from "../lib/api";
import { formatCount, formatValue } from "../lib/format";
import { useNow, usePolled } from "../lib/hooks";
import type { Pipeline, PipelineSpec, PipelineStatus, Problem } from "../lib/types";
import { Ago, Empty, Failure, Loading, Problems } from "../parts/bits";
import { Icon } from "../parts/icons";
import { Letters } from "./letters";

const REFRESH_MS = 2000;

/** Where every consumed record has gone. */
const PARTS: [key: "indexed" | "deduplicated" | "deadLettered" | "filtered", name: string, meaning: string][] = [
  ["indexed", "indexed", "the store acknowledged them as new"],
  ["deduplicated", "deduplicated", "the store had them already"],
  ["deadLettered", "dead letters", "they can't be read, or the store refuses them"],
  ["filtered", "filtered", "the transform dropped them on purpose"],
];

export function PipelinesPage(): JSX.Element {
  const at = useNow();
  const polled = usePolled(
    "pipelines",
    (signal) => get<{ pipelines: Pipeline[]; problems?: Problem[] }>("pipelines", {}, signal),
    REFRESH_MS,
  );
  const pipelines = polled.data?.pipelines;
  return (
    <div class="page">
      <Problems problems={polled.data?.problems ?? []} of="pipelines" />
      <h1>Pipelines</h1>
      {polled.error && <Failure what="The pipelines could not be loaded" error={polled.error} retry={polled.reload} />}
      {!pipelines && !polled.error && <Loading />}
      {pipelines?.length === 0 && (
        <Empty title="There are no pipelines">
          Apply a <code>LogPipeline</code>, or put one into the directory that Taffrail reads, and logs come in.
        </Empty>
      )}
      <div class="pipelines">
        {pipelines?.map((pipeline) => (
          <PipelineCard key={`${pipeline.namespace} ${pipeline.name}`} pipeline={pipeline} at={at} />
        ))}
      </div>
    </div>
  );
}

/** What one side of a pipeline is, in a few words. */
function endpoint(side: PipelineSpec["source"]): string {
  const [kind, settings] = Object.entries(side ?? {}).find(([, value]) => value !== null) ?? [];
  if (kind === undefined) return "–";
  const options = (settings ?? {}) as Record<string, unknown>;
  const list = (value: unknown): string => (Array.isArray(value) ? value.join(", ") : "");
  switch (kind) {
    case "kafka":
      return `Kafka topic ${String(options.topic)}`;
    case "http":
      return `HTTP port ${String(options.port)}`;
    case "file":
      return `files ${list(options.paths)}`;
    case "demo":
      return `demo, ${String(options.rate)} logs/s`;
    case "elasticsearch":
      return `Elasticsearch ${list(options.urls)}`;
    case "embedded":
      return "built-in store";
    default:
      return kind;
  }
}

/** Records per second between the last two answers. */
function useRate(consumed: number | undefined): number | undefined {
  const last = useRef<{ at: number; consumed: number } | undefined>(undefined);
  const [rate, setRate] = useState<number>();
  useEffect(() => {
    if (consumed === undefined) return;
    const measure = () => {
      const at = performance.now();
      const before = last.current;
      last.current = { at, consumed: latest.current };
      if (before) setRate(Math.max(0, ((latest.current - before.consumed) * 1000) / (at - before.at)));
    };
    measure();
    const timer = window.setInterval(measure, 2 * REFRESH_MS);
    return () => window.clearInterval(timer);
  }, [consumed === undefined]);
  const latest = useRef(consumed ?? 0);
  latest.current = consumed ?? 0;
  return rate;
}

function PipelineCard({ pipeline, at }: { pipeline: Pipeline; at: number }): JSX.Element {
  const { spec } = pipeline;
  const status: PipelineStatus = pipeline.status ?? {};
  const consumed = status.consumed ?? 0;
  const accounted = PARTS.reduce((sum, [key]) => sum + (status[key] ?? 0), 0);
  const [lettersShown, setLettersShown] = useState(false);
  const rate = useRate(pipeline.status ? consumed : undefined);
  const ready = status.conditions?.find(({ type }) => type === "Ready");
  // Without a status nobody has spoken of it yet.
  const isReady = ready ? ready.status === "True" : undefined;
  const reason = pipeline.message ?? ready?.message;
  return (
    <article class="pipeline">
      <header>
        <span class={`badge ${isReady ? "state-inactive" : isReady === false ? "state-error" : ""}`}>
          {isReady ? "Ready" : isReady === false ? "Not ready" : "Starting"}
        </span>
        <h2>{pipeline.name}</h2>
        <span class="dim route">
          {endpoint(spec.source)} <Icon name="chevron" /> {endpoint(spec.sink)}
        </span>
      </header>
      {reason && (
        <p class={isReady === false ? "row-problem" : "dim"}>
          {ready?.reason && ready.reason !== reason && <strong>{ready.reason}: </strong>}
          {reason}
        </p>
      )}
      <dl class="ledger">
        <div class="ledger-main" title="records taken from the source and accounted for">
          <dt>consumed</dt>
          <dd>{formatCount(consumed)}</dd>
        </div>
        {PARTS.map(([key, name, meaning]) => (
          <div key={key} class={`part-${key} ${(status[key] ?? 0) === 0 ? "zero" : ""}`} title={meaning}>
            <dt>
              <span class="swatch" />
              {name}
            </dt>
            <dd>{formatCount(status[key] ?? 0)}</dd>
          </div>
        ))}
      </dl>
      {consumed > 0 && (
        <div class="ledger-bar" aria-hidden="true">
          {PARTS.map(([key]) => (
            <span key={key} class={`part-${key}`} style={{ flexGrow: (status[key] ?? 0) / consumed }} />
          ))}
        </div>
      )}
      <dl class="facts">
        <div>
          <dt>throughput</dt>
          <dd>{rate === undefined ? "–" : formatValue(rate, "logs/s")}</dd>
        </div>
        <div>
          <dt>lag</dt>
          <dd>{status.lag === undefined || status.lag === null ? "–" : `${formatCount(status.lag)} records`}</dd>
        </div>
        <div>
          <dt>delivered up to</dt>
          <dd>
            <Ago time={status.watermark} at={at} />
          </dd>
        </div>
        <div>
          <dt>ledger</dt>
          <dd class={accounted === consumed ? "" : "text-critical"}>
            {accounted === consumed ? "adds up" : `${formatCount(Math.abs(consumed - accounted))} records unaccounted for`}
          </dd>
        </div>
        {(status.replicas ?? 0) > 0 && (
          <div>
            <dt>workers</dt>
            <dd>{status.replicas}</dd>
          </div>
        )}
      </dl>
      <button type="button" class="button small letters-toggle" aria-expanded={lettersShown} onClick={() => setLettersShown(!lettersShown)}>
        Dead letters
      </button>
      {lettersShown && <Letters pipeline={pipeline} at={at} />}
    </article>
  );
}
