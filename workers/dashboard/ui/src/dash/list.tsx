// All dashboards.
import type { JSX } from "preact";
import { get } from "../lib/api";
import { usePolled } from "../lib/hooks";
import { href } from "../lib/route";
import type { DashboardEntry } from "../lib/types";
import { Empty, Failure, Loading } from "../parts/bits";
import { Icon } from "../parts/icons";

const REFRESH_MS = 5000;

export function BoardList(): JSX.Element {
  const polled = usePolled(
    "dashboards",
    (signal) => get<{ dashboards: DashboardEntry[] }>("dashboards", {}, signal),
    REFRESH_MS,
  );
  const boards = polled.data?.dashboards;
  const alike = (name: string) => (boards?.filter((board) => board.name === name).length ?? 0) > 1;
  return (
    <div class="page">
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
            <a href={href(["dashboards", alike(board.name) ? `${board.namespace}.${board.name}` : board.name])}>
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
