// The dead letters of a pipeline: what is wrong with them, what they were, and sending them again.
import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { type ApiError, type Params, get, post } from "../lib/api";
import { formatCount } from "../lib/format";
import { usePolled } from "../lib/hooks";
import type { DeadLetter, DeadLetterPage, DeadLetterReason, Pipeline, RedriveAnswer } from "../lib/types";
import { Ago, CopyButton, Empty, Failure, Loading } from "../parts/bits";

const REFRESH_MS = 5000;
const SHOWN = 50;

/** Which letters: all, or those of one kind. */
type Filter = Pick<DeadLetterReason, "reason" | "status"> | undefined;

export function pathOf(pipeline: Pick<Pipeline, "namespace" | "name">): string {
  return `pipelines/${encodeURIComponent(pipeline.namespace)}/${encodeURIComponent(pipeline.name)}/dead-letters`;
}

export function Letters({ pipeline, at }: { pipeline: Pipeline; at: number }): JSX.Element {
  const path = pathOf(pipeline);
  const [filter, setFilter] = useState<Filter>();
  const params: Params = { limit: SHOWN, reason: filter?.reason, status: filter?.status };
  const polled = usePolled(
    `${path} ${JSON.stringify(filter)}`,
    (signal) => get<DeadLetterPage>(path, params, signal),
    REFRESH_MS,
  );
  const page = polled.data;
  return (
    <section class="letters" aria-label={`Dead letters of ${pipeline.name}`}>
      {polled.error && <Failure what="The dead letters could not be loaded" error={polled.error} retry={polled.reload} />}
      {!page && !polled.error && <Loading />}
      {page?.total === 0 && !filter && <Empty title="There are no dead letters" />}
      {page && (page.total > 0 || filter) && (
        <>
          <ul class="letter-reasons">
            {page.reasons.map((group) => (
              <li key={`${group.status} ${group.reason}`}>
                <button
                  type="button"
                  class="letter-reason"
                  aria-pressed={filter !== undefined}
                  title={filter ? "Show all dead letters" : "Show only these"}
                  onClick={() => setFilter(filter ? undefined : { reason: group.reason, status: group.status })}
                >
                  <strong>{formatCount(group.count)}</strong>
                  {group.status !== 0 && <span class="dim">status {group.status}</span>}
                  <span>{group.reason}</span>
                </button>
              </li>
            ))}
          </ul>
          <Redrive path={path} filter={filter} done={polled.reload} all={() => setFilter(undefined)} />
          <ol class="letter-list">
            {page.letters.map((letter) => (
              <LetterRow key={letter.id} path={path} letter={letter} at={at} />
            ))}
          </ol>
          {page.total > page.letters.length && (
            <p class="dim">
              The newest {page.letters.length} of {formatCount(page.total)}.
            </p>
          )}
        </>
      )}
    </section>
  );
}

function LetterRow({ path, letter, at }: { path: string; letter: DeadLetter; at: number }): JSX.Element {
  const [open, setOpen] = useState(false);
  return (
    <li>
      <button type="button" class="letter-head" aria-expanded={open} onClick={() => setOpen(!open)}>
        <span class="letter-place">
          {letter.topic}/{letter.partition} at {letter.offset}
        </span>
        <span class="letter-text">{letter.reason}</span>
        <span class="dim">
          <Ago time={letter.timestamp} at={at} />
        </span>
      </button>
      {open && <Original path={path} letter={letter} />}
    </li>
  );
}

/** The record as it came, and where from. */
function Original({ path, letter }: { path: string; letter: DeadLetter }): JSX.Element {
  const polled = usePolled(
    `${path} ${letter.id}`,
    (signal) => get<DeadLetterPage>(path, { id: letter.id }, signal),
    0,
  );
  const whole = polled.data?.letters[0];
  return (
    <div class="letter-open">
      <dl class="facts">
        <div>
          <dt>id</dt>
          <dd>{letter.id}</dd>
        </div>
        <div>
          <dt>status</dt>
          <dd>{letter.status === 0 ? "not read" : letter.status}</dd>
        </div>
        <div>
          <dt>generation</dt>
          <dd>{letter.generation}</dd>
        </div>
        <div>
          <dt>size</dt>
          <dd>{formatCount(letter.size)} bytes</dd>
        </div>
      </dl>
      {polled.error && <Failure what="The record could not be loaded" error={polled.error} retry={polled.reload} />}
      {!whole && !polled.error && <Loading />}
      {whole?.original !== undefined && (
        <div class="letter-original">
          <CopyButton text={whole.original} label="Copy the record" />
          <pre>{whole.original}</pre>
        </div>
      )}
      {whole?.originalBase64 !== undefined && (
        <div class="letter-original">
          <CopyButton text={whole.originalBase64} label="Copy the record in Base64" />
          <p class="dim">The record is not text. In Base64:</p>
          <pre>{whole.originalBase64}</pre>
        </div>
      )}
    </div>
  );
}

type Outcome = Required<Pick<RedriveAnswer, "indexed" | "duplicate" | "filtered" | "refused" | "unsettled">>;

const OUTCOMES: [key: keyof Outcome, name: string][] = [
  ["indexed", "indexed"],
  ["duplicate", "stored before"],
  ["refused", "refused again"],
  ["filtered", "filtered"],
  ["unsettled", "not settled yet: send them once more"],
];

type Step =
  | { is: "idle" }
  | { is: "asking" }
  | { is: "asked"; matched: number; reasons: DeadLetterReason[] }
  | { is: "sending"; sum: Outcome }
  | { is: "done"; sum: Outcome; error?: ApiError }
  | { is: "failed"; error: ApiError };

/** First says what would be sent, then sends it. */
function Redrive(props: { path: string; filter: Filter; done: () => void; all: () => void }): JSX.Element {
  const [step, setStep] = useState<Step>({ is: "idle" });
  const { path, filter, done, all } = props;
  const send = (more: object) => post<RedriveAnswer>(`${path}/redrive`, { ...filter, ...more });
  const ask = async () => {
    setStep({ is: "asking" });
    try {
      const { matched = 0, reasons = [] } = await send({ dryRun: true });
      setStep({ is: "asked", matched, reasons });
    } catch (error) {
      setStep({ is: "failed", error: error as ApiError });
    }
  };
  const start = async () => {
    let sum: Outcome = { indexed: 0, duplicate: 0, filtered: 0, refused: 0, unsettled: 0 };
    setStep({ is: "sending", sum });
    let cursor: string | null = null;
    try {
      do {
        const answer: RedriveAnswer = await send(cursor === null ? {} : { cursor });
        sum = { ...sum };
        for (const [key] of OUTCOMES) sum[key] += answer[key] ?? 0;
        setStep({ is: "sending", sum });
        cursor = answer.cursor ?? null;
      } while (cursor !== null);
      setStep({ is: "done", sum });
    } catch (error) {
      setStep({ is: "done", sum, error: error as ApiError });
    }
    all();
    done();
  };
  switch (step.is) {
    case "idle":
      return (
        <button type="button" class="button small" onClick={ask}>
          Send {filter ? "these" : "all"} again…
        </button>
      );
    case "asking":
      return <Loading />;
    case "asked":
      return (
        <div class="redrive" role="group" aria-label="Send dead letters again">
          <p>
            {formatCount(step.matched)} dead letters would go through the pipeline again, as it is now. None is stored twice; what is refused
            again stays.
          </p>
          <ul>
            {step.reasons.map(({ reason, status, count }) => (
              <li key={`${status} ${reason}`}>
                {formatCount(count)} × {reason}
              </li>
            ))}
          </ul>
          <button type="button" class="button small primary" disabled={step.matched === 0} onClick={start}>
            Send {formatCount(step.matched)} again
          </button>
          <button type="button" class="button small" onClick={() => setStep({ is: "idle" })}>
            Cancel
          </button>
        </div>
      );
    case "sending":
    case "done":
      return (
        <div class="redrive" role="status">
          <p>{step.is === "sending" ? "Sending…" : step.error ? "Broken off" : "Done"}</p>
          <ul>
            {OUTCOMES.filter(([key]) => step.sum[key] > 0 || key === "indexed").map(([key, name]) => (
              <li key={key}>
                {formatCount(step.sum[key])} {name}
              </li>
            ))}
          </ul>
          {step.is === "done" && step.error && <Failure what="Not all could be sent" error={step.error} retry={ask} />}
          {step.is === "done" && !step.error && (
            <button type="button" class="button small" onClick={() => setStep({ is: "idle" })}>
              Close
            </button>
          )}
        </div>
      );
    case "failed":
      return <Failure what="What would be sent is not known" error={step.error} retry={ask} />;
  }
}
