// All dashboards.
import type { JSX } from "preact";
import { get } from "../lib/api";
import { usePolled } from "../lib/hooks";
import { href } from "../lib/route";
import type { DashboardEntry, Problem } from "../lib/types";
import { Empty, Failure, Loading, Problems } from "../parts/bits";
import { Icon } from "../parts/icons";

const REFRESH_MS = 5000;

export function BoardList(): JSX.Element {
  const polled = usePolled(
    "dashboards",
    (signal) => get<{ dashboards: DashboardEntry[]; problems?: Problem[] }>("dashboards", {}, signal),
    REFRESH_MS,
  );
  const boards = polled.data?.dashboards;
  return (
    <div class="page">
      <Problems problems={polled.data?.problems ?? []} of="dashboards" />
      <h1>Dashboards</h1>
      {polled.error && <Failure what="The dashboards could not be loaded" error={polled.error} retry={polled.reload} />}
      {!boards && !polled.error && <Loading />}
      {boards?.length === 0 && (
        <Empty title="There are no dashboards">
          Apply a <code>Dashboard</code>, or put one into the directory that Taffrail reads; it appears here at once.
        </Empty>
      )}
      <ul class="boards">
        {boards?.map((board) => (
          <li key={`${board.namespace} ${board.name}`}>
            <a href={href(["dashboards", board.name])}>
              <Icon name="board" />
              <span class="board-title">{board.title ?? board.name}</span>
              <span class="dim">
                {board.panels} {board.panels === 1 ? "panel" : "panels"} · {board.namespace}
              </span>
            </a>
          </li>
        ))}
      </ul>
    </div>
  );
}
