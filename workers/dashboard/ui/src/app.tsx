// The frame around every view: header, connection, and which view is shown.
import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { AlertsPage } from "./alerts/page";
import { BoardList } from "./dash/list";
import { BoardPage } from "./dash/page";
import { type Connection, checkHealth, get, getConnection, onConnection, presentKey } from "./lib/api";
import { usePolled } from "./lib/hooks";
import { href, useRoute } from "./lib/route";
import { type Theme, setTheme, useTheme } from "./lib/theme";
import { shortTime } from "./lib/time";
import type { Alert } from "./lib/types";
import { LogsPage } from "./logs/page";
import { Empty } from "./parts/bits";
import { Icon, type IconName, Logo } from "./parts/icons";
import { PipelinesPage } from "./pipelines/page";

const VIEWS: [path: string, name: string, icon: IconName][] = [
  ["logs", "Logs", "logs"],
  ["dashboards", "Dashboards", "board"],
  ["alerts", "Alerts", "bell"],
  ["pipelines", "Pipelines", "pipe"],
];

const HEALTH_MS = 10_000;
const HEALTH_DOWN_MS = 2000;
const ALERTS_MS = 5000;

function useConnection(): Connection {
  const [connection, setConnection] = useState(getConnection);
  useEffect(() => onConnection(setConnection), []);
  return connection;
}

function View({ path, params }: { path: string[]; params: URLSearchParams }): JSX.Element {
  const [view, name] = path;
  if (view === undefined || view === "logs") return <LogsPage params={params} />;
  if (view === "dashboards" && name === undefined) return <BoardList />;
  if (view === "dashboards" && name !== undefined) return <BoardPage key={name} name={name} params={params} />;
  if (view === "alerts") return <AlertsPage />;
  if (view === "pipelines") return <PipelinesPage />;
  return (
    <Empty title="There is no such page">
      <a href={href(["logs"])}>Go to the logs</a>
    </Empty>
  );
}

function ThemeButton(): JSX.Element {
  const { theme } = useTheme();
  const [next, icon]: [Theme, IconName] =
    theme === "auto" ? ["light", "auto"] : theme === "light" ? ["dark", "sun"] : ["auto", "moon"];
  const label = `Theme: ${theme}. Change to ${next}`;
  return (
    <button type="button" class="icon-button" title={label} aria-label={label} onClick={() => setTheme(next)}>
      <Icon name={icon} />
    </button>
  );
}

function Health({ connection }: { connection: Connection }): JSX.Element {
  const down = connection.downSince;
  const text = down === null ? "connected" : `not reachable since ${shortTime(down)}`;
  return (
    <span class={`health ${down === null ? "up" : "down"}`} role="status" title={`Taffrail ${connection.version}: ${text}`}>
      <span class="dot" />
      <span class={down === null ? "visually-hidden" : "health-text"}>{text}</span>
    </span>
  );
}

/** Asks for the API key. */
function SignIn(): JSX.Element {
  const input = useRef<HTMLInputElement>(null);
  const submit = (event: Event) => {
    event.preventDefault();
    const key = input.current?.value.trim();
    if (key) presentKey(key);
  };
  return (
    <form class="sign-in" onSubmit={submit}>
      <h1>This Taffrail asks for an API key</h1>
      <label>
        API key
        <input ref={input} type="password" autocomplete="off" autofocus />
      </label>
      <button type="submit" class="button primary">
        Go on
      </button>
      <p class="dim">It is kept until this tab is closed. If you have just given one, it was not accepted.</p>
    </form>
  );
}

export function App(): JSX.Element {
  const { path, params } = useRoute();
  const connection = useConnection();
  const view = path[0] ?? "logs";
  usePolled("health", checkHealth, connection.downSince === null ? HEALTH_MS : HEALTH_DOWN_MS);
  const alerts = usePolled("alerts", (signal) => get<{ alerts: Alert[] }>("alerts", {}, signal), ALERTS_MS);
  const firing = alerts.data?.alerts.filter((alert) => alert.state === "Firing").length ?? 0;

  useEffect(() => {
    const name = VIEWS.find(([key]) => key === view)?.[1] ?? "Taffrail";
    document.title = `${firing > 0 ? `(${firing}) ` : ""}${path[1] ? `${path[1]} · ` : ""}${name} · Taffrail`;
  }, [view, path[1], firing]);

  return (
    <>
      <a class="skip" href="#main" onClick={(event) => {
        event.preventDefault();
        document.getElementById("main")?.focus();
      }}>
        Skip to content
      </a>
      <header class="top">
        <a class="brand" href={href([])} aria-label="Taffrail">
          <Logo />
          <span class="brand-name">Taffrail</span>
        </a>
        <nav aria-label="Views">
          {VIEWS.map(([key, name, icon]) => (
            <a key={key} href={href([key])} aria-current={view === key ? "page" : undefined}>
              <Icon name={icon} />
              <span class="nav-name">{name}</span>
              {key === "alerts" && firing > 0 && (
                <span class="count" title={`${firing} firing`}>
                  {firing}
                </span>
              )}
            </a>
          ))}
        </nav>
        <div class="top-end">
          <Health connection={connection} />
          <ThemeButton />
        </div>
      </header>
      <main id="main" tabIndex={-1} class={`view-${view} ${connection.downSince === null ? "" : "stale"}`}>
        {connection.locked ? <SignIn /> : <View path={path} params={params} />}
      </main>
    </>
  );
}
