// The view of alerts and the rules they come from.
import type { JSX } from "preact";
import { get } from "../lib/api";
import { formatValue } from "../lib/format";
import { useNow, usePolled } from "../lib/hooks";
import type { Alert, AlertState, Problem, Rule, RuleSpec } from "../lib/types";
import { Ago, Empty, Failure, Loading, Problems, StateBadge } from "../parts/bits";
import { AlertCard, alertKey, sortAlerts } from "./list";

const REFRESH_MS = 2000;

export function AlertsPage(): JSX.Element {
  const at = useNow();
  const alerts = usePolled("alerts", (signal) => get<{ alerts: Alert[] }>("alerts", {}, signal), REFRESH_MS);
  const rules = usePolled("rules", (signal) => get<{ rules: Rule[]; problems?: Problem[] }>("rules", {}, signal), REFRESH_MS);
  const shown = sortAlerts(alerts.data?.alerts ?? []);
  const active = shown.filter((alert) => alert.state !== "Inactive");
  const resolved = shown.filter((alert) => alert.state === "Inactive");

  return (
    <div class="page">
      <Problems problems={rules.data?.problems ?? []} of="rules" />
      <h1>Alerts</h1>
      {alerts.error && <Failure what="The alerts could not be loaded" error={alerts.error} retry={alerts.reload} />}
      {!alerts.data && !alerts.error && <Loading />}
      {alerts.data && active.length === 0 && (
        <p class="all-well">
          <span class="dot" /> Nothing is firing.
        </p>
      )}
      {active.length > 0 && <h2 class="visually-hidden">Active</h2>}
      <div class="alerts">
        {active.map((alert) => (
          <AlertCard key={alertKey(alert)} alert={alert} at={at} />
        ))}
      </div>
      {resolved.length > 0 && (
        <>
          <h2>Recently resolved</h2>
          <div class="alerts">
            {resolved.map((alert) => (
              <AlertCard key={alertKey(alert)} alert={alert} at={at} />
            ))}
          </div>
        </>
      )}
      <h2>Rules</h2>
      {rules.error && <Failure what="The rules could not be loaded" error={rules.error} retry={rules.reload} />}
      {rules.data && rules.data.rules.length === 0 && (
        <Empty title="There are no rules">
          Apply an <code>AlertRule</code>, or put one into the directory that Taffrail reads: it is evaluated within a second.
        </Empty>
      )}
      {rules.data && rules.data.rules.length > 0 && <RuleTable rules={rules.data.rules} at={at} />}
    </div>
  );
}

function queryOf(spec: RuleSpec): string {
  if (spec.query !== undefined) return spec.query;
  if (spec.expr !== undefined) return spec.expr;
  return spec.logs ? `${spec.logs.function ?? "count"} of logs: ${spec.logs.q}` : "";
}

/** A rule without a status is not broken: no worker has spoken of it yet. */
function isBroken({ ready, status }: Rule): boolean {
  return status?.state === "Error" || (ready === false && !!status);
}

const GRAVITY: Record<AlertState, number> = { Error: 0, Firing: 1, Pending: 2, Stalled: 3, NoData: 4, Inactive: 5 };

function gravity(rule: Rule): number {
  return isBroken(rule) ? 0 : (GRAVITY[rule.status?.state ?? "Inactive"] ?? 5);
}

function RuleState({ rule }: { rule: Rule }): JSX.Element {
  if (rule.spec.suspend) return <span class="badge">Suspended</span>;
  if (isBroken(rule)) return <StateBadge state="Error" />;
  return rule.status ? <StateBadge state={rule.status.state ?? "Inactive"} /> : <span class="badge">Loading</span>;
}

function RuleTable({ rules, at }: { rules: Rule[]; at: number }): JSX.Element {
  const sorted = [...rules].sort((a, b) => gravity(a) - gravity(b) || a.name.localeCompare(b.name));
  const namespaces = new Set(rules.map((rule) => rule.namespace));
  return (
    <div class="table-box framed">
      <table class="rules">
        <thead>
          <tr>
            <th scope="col">State</th>
            <th scope="col">Rule</th>
            <th scope="col">Condition</th>
            <th scope="col" class="number">
              Value
            </th>
            <th scope="col">Evaluated</th>
          </tr>
        </thead>
        <tbody>
          {sorted.map((rule) => {
            const { spec, status } = rule;
            return (
              <tr key={`${rule.namespace} ${rule.name}`}>
                <td>
                  <RuleState rule={rule} />
                </td>
                <td>
                  <strong>{rule.title ?? spec.name ?? rule.name}</strong>
                  {namespaces.size > 1 && <span class="dim"> {rule.namespace}</span>}
                  {isBroken(rule) && rule.message && <p class="row-problem">{rule.message}</p>}
                </td>
                <td>
                  <code>{queryOf(spec)}</code>{" "}
                  {spec.operator !== undefined && spec.threshold !== undefined && (
                    <code class="nowrap">
                      {spec.operator} {formatValue(spec.threshold)}
                    </code>
                  )}
                  <span class="dim nowrap">
                    {spec.duration && ` over ${spec.duration}`}
                    {spec.for && spec.for !== "0" && spec.for !== "0s" && `, for ${spec.for}`}
                    {spec.interval && `, every ${spec.interval}`}
                  </span>
                </td>
                <td class="number">{formatValue(status?.value)}</td>
                <td class="nowrap">
                  <Ago time={status?.lastEvaluation} at={at} />
                </td>
              </tr>
            );
          })}
        </tbody>
      </table>
    </div>
  );
}
