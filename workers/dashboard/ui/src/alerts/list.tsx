// Alerts by how much they matter: firing, pending, resolved of late.
import type { JSX } from "preact";
import { formatValue } from "../lib/format";
import type { Alert, AlertState } from "../lib/types";
import { Ago, LabelList, Since, StateBadge } from "../parts/bits";

const ORDER: Partial<Record<AlertState, number>> = { Firing: 0, Error: 1, Stalled: 2, Pending: 3, NoData: 4 };

function sinceOf(alert: Alert): string {
  return (alert.state === "Inactive" ? alert.resolvedAt : (alert.firedAt ?? alert.activeAt)) ?? "";
}

/** Firing first, then pending, then resolved; among equals the newest first. Those that never fired are left out. */
export function sortAlerts(alerts: Alert[]): Alert[] {
  return alerts
    .filter((alert) => alert.state !== "Inactive" || alert.resolvedAt)
    .sort((a, b) => (ORDER[a.state] ?? 9) - (ORDER[b.state] ?? 9) || sinceOf(b).localeCompare(sinceOf(a)));
}

/** Tells one alert from another. */
export function alertKey(alert: Alert): string {
  return `${alert.namespace} ${alert.rule} ${JSON.stringify(alert.labels)}`;
}

/** How far a value is from its threshold, as a bar with a mark. */
export function Meter({ value, threshold, operator }: { value: number; threshold: number; operator: string }): JSX.Element | null {
  const full = Math.max(Math.abs(value), Math.abs(threshold)) * 1.15;
  if (!(full > 0) || value < 0 || threshold < 0) return null;
  return (
    <span class="meter" role="img" aria-label={`${formatValue(value)}, threshold ${operator} ${formatValue(threshold)}`}>
      <span class="meter-fill" style={{ width: `${(value / full) * 100}%` }} />
      <span class="meter-mark" style={{ left: `${(threshold / full) * 100}%` }} />
    </span>
  );
}

export function Condition({ value, threshold, operator }: Pick<Alert, "value" | "threshold" | "operator">): JSX.Element {
  const known = typeof threshold === "number";
  return (
    <span class="condition">
      <strong class="number">{formatValue(value)}</strong>
      {known && (
        <span class="dim number">
          {operator ?? ""} {formatValue(threshold)}
        </span>
      )}
    </span>
  );
}

/** One alert with all that is known of it. */
export function AlertCard({ alert, at }: { alert: Alert; at: number }): JSX.Element {
  const { value, threshold, operator } = alert;
  const resolved = alert.state === "Inactive";
  const { summary, description, ...annotations } = alert.annotations;
  return (
    <article class={`alert state-${alert.state.toLowerCase()}`}>
      <header>
        <StateBadge state={alert.state} resolved={resolved} />
        <h3>{alert.rule}</h3>
        <span class="alert-since">
          {resolved ? (
            <>
              resolved <Ago time={alert.resolvedAt} at={at} />
            </>
          ) : (
            <>
              since <Since time={alert.firedAt ?? alert.activeAt} at={at} />
            </>
          )}
        </span>
      </header>
      {summary && <p class="alert-summary">{summary}</p>}
      {description && <p class="alert-text">{description}</p>}
      <div class="alert-value">
        <Condition value={value} threshold={threshold} operator={operator} />
        {typeof value === "number" && typeof threshold === "number" && (
          <Meter value={value} threshold={threshold} operator={operator ?? ""} />
        )}
        {alert.query && <code class="query-text">{alert.query}</code>}
      </div>
      <LabelList labels={alert.labels} />
      {Object.entries(annotations).map(([key, text]) => (
        <p key={key} class="annotation">
          <span class="dim">{key}</span>{" "}
          {/^https?:\/\/\S+$/.test(text) ? (
            <a href={text} rel="noreferrer">
              {text}
            </a>
          ) : (
            text
          )}
        </p>
      ))}
    </article>
  );
}

/** Alerts in short, for a panel. */
export function AlertLines({ alerts, at }: { alerts: Alert[]; at: number }): JSX.Element {
  return (
    <ul class="alert-lines">
      {sortAlerts(alerts).map((alert) => (
        <li key={alertKey(alert)}>
          <StateBadge state={alert.state} resolved={alert.state === "Inactive"} />
          <strong class="alert-line-rule">{alert.rule}</strong>
          <Condition value={alert.value} threshold={alert.threshold} operator={alert.operator} />
          <span class="dim alert-line-text">{alert.annotations.summary}</span>
          <span class="dim alert-line-age">
            <Ago time={sinceOf(alert)} at={at} />
          </span>
        </li>
      ))}
    </ul>
  );
}
