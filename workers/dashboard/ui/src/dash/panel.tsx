// One panel: its frame, its data, and what is shown when there is none.
import type { JSX } from "preact";
import { AlertLines, sortAlerts } from "../alerts/list";
import { ApiError, get } from "../lib/api";
import { type Polled, useNow, usePolled, useSeen, useSize } from "../lib/hooks";
import { href } from "../lib/route";
import { type Range, ends, rangeParams } from "../lib/time";
import type { Alert, LogPage, Panel, PanelType } from "../lib/types";
import { Lines } from "../logs/lines";
import type { Row } from "../logs/feed";
import { Icon } from "../parts/icons";
import { Markdown } from "../parts/markdown";
import { type Frame, loadInstant, loadRange } from "./data";
import { Heatmap } from "./heatmap";
import type { Size } from "./layout";
import { Bars, Gauge, Stat, Table } from "./numbers";
import { Timeseries } from "./timeseries";
import { type Values, substitute } from "./vars";

export interface Context {
  range: Range;
  values: Values;
  /** Milliseconds between refreshes; 0 is never. */
  refresh: number;
  /** Counts the times that someone asked for fresh data. */
  round: number;
  onZoom: (from: number, to: number) => void;
}

interface Props {
  panel: Panel;
  context: Context;
}

export function PanelView({ panel, size, context }: Props & { size: Size }): JSX.Element {
  const type = panel.type ?? "timeseries";
  const [ref, seen] = useSeen<HTMLElement>();
  const title = panel.title === undefined ? undefined : substitute(panel.title, context.values, "text");
  return (
    <section ref={ref} class={`panel panel-${type} ${size.columns <= 4 ? "narrow" : ""}`} style={{ "--columns": size.columns, "--rows": size.rows }} aria-label={title ?? type}>
      <Body panel={panel} type={type} title={title} context={context} seen={seen} />
    </section>
  );
}

interface BodyProps extends Props {
  type: PanelType;
  title: string | undefined;
  seen: boolean;
}

function Body({ panel, type, title, context, seen }: BodyProps): JSX.Element {
  if (!seen) return <PanelHead title={title} />;
  switch (type) {
    case "text":
      return (
        <>
          <PanelHead title={title} />
          <div class="panel-body scroll" tabIndex={0}>
            <Markdown text={substitute(panel.text ?? "", context.values, "text")} />
          </div>
        </>
      );
    case "logs":
      return <LogsPanel panel={panel} title={title} context={context} />;
    case "alerts":
      return <AlertsPanel title={title} context={context} />;
    default:
      return <MetricsPanel panel={panel} type={type} title={title} context={context} />;
  }
}

interface HeadProps {
  title: string | undefined;
  polled?: Polled<unknown>;
  link?: string;
}

function PanelHead({ title, polled, link }: HeadProps): JSX.Element | null {
  if (title === undefined && !polled?.error && link === undefined) return null;
  return (
    <header class="panel-head">
      <h2>{link ? <a href={link}>{title ?? "Logs"}</a> : title}</h2>
      {polled?.error && polled.data !== undefined && (
        <span class="panel-warning" title={`Not up to date: ${polled.error.message}`}>
          <Icon name="warn" />
          <span class="visually-hidden">Not up to date: {polled.error.message}</span>
        </span>
      )}
    </header>
  );
}

/** Why there is nothing to see. */
function Blank({ polled, empty }: { polled: Polled<unknown>; empty: string }): JSX.Element {
  if (polled.error) {
    return (
      <div class="panel-error" role="alert">
        <Icon name="warn" />
        <p>{polled.error.message}</p>
      </div>
    );
  }
  return <div class={`panel-empty ${polled.loading && !polled.data ? "waiting" : ""}`}>{polled.data ? empty : ""}</div>;
}

interface Metrics {
  frame: Frame;
  history: Frame | undefined;
}

function keyOf(panel: Panel, context: Context, width: number): string {
  const texts = (panel.queries ?? []).map(({ query, expr, ...rest }) => ({
    ...rest,
    query: query && substitute(query, context.values, "metrics"),
    expr: expr && substitute(expr, context.values, "metrics"),
  }));
  return JSON.stringify([panel.type, texts, context.range, context.round, Math.round(width / 100)]);
}

function MetricsPanel({ panel, type, title, context }: { panel: Panel; type: PanelType; title: string | undefined; context: Context }): JSX.Element {
  const [box, { width }] = useSize<HTMLDivElement>();
  const scrolls = type === "table" || type === "bar";
  const overTime = type === "timeseries" || type === "heatmap";
  const load = async (signal: AbortSignal): Promise<Metrics> => {
    if ((panel.queries ?? []).length === 0) throw new ApiError(400, `a panel of type ${type} needs \`queries\``);
    const span = ends(context.range);
    const points = width || 600;
    const main = (overTime ? loadRange : loadInstant)(panel, context.values, span, points, signal);
    const past = type === "stat" ? loadRange(panel, context.values, span, points, signal) : Promise.resolve(undefined);
    const [frame, history] = await Promise.all([main, past]);
    return { frame, history };
  };
  // Not before the width is known: the number of points depends on it.
  const polled = usePolled(width > 0 ? keyOf(panel, context, width) : "", width > 0 ? load : async () => undefined, context.refresh);
  const data = polled.data;
  const shown = data && data.frame.series.length > 0 && !(polled.error && polled.error.status === 400) ? data : undefined;
  return (
    <>
      <PanelHead title={title} polled={polled} />
      <div class={`panel-body ${scrolls ? "scroll" : ""}`} tabIndex={scrolls ? 0 : undefined} ref={box}>
        {shown ? (
          <MetricsBody panel={panel} type={type} data={shown} context={context} />
        ) : (
          <Blank polled={polled} empty="No data in this time range" />
        )}
      </div>
    </>
  );
}

function MetricsBody({ panel, type, data, context }: { panel: Panel; type: PanelType; data: Metrics; context: Context }): JSX.Element {
  switch (type) {
    case "stat":
      return <Stat panel={panel} frame={data.frame} history={data.history} />;
    case "gauge":
      return <Gauge panel={panel} frame={data.frame} />;
    case "bar":
      return <Bars panel={panel} frame={data.frame} />;
    case "table":
      return <Table panel={panel} frame={data.frame} />;
    case "heatmap":
      return <Heatmap panel={panel} frame={data.frame} />;
    default:
      return <Timeseries panel={panel} frame={data.frame} onZoom={context.onZoom} />;
  }
}

function LogsPanel({ panel, title, context }: { panel: Panel; title: string | undefined; context: Context }): JSX.Element {
  const q = substitute(panel.logs?.query ?? "", context.values, "logs");
  const limit = panel.logs?.limit ?? 100;
  const key = JSON.stringify([q, limit, context.range, context.round]);
  const polled = usePolled(
    key,
    async (signal) => {
      const { from, to } = ends(context.range);
      const page = await get<LogPage>("logs/search", { q, limit, from: Math.floor(from), to: Math.ceil(to) }, signal);
      return page.logs.map((line, index): Row => ({ key: line.id ?? `${index} ${JSON.stringify(line)}`, time: Date.parse(line.timestamp), line }));
    },
    context.refresh,
  );
  const link = href(["logs"], { q, ...rangeParams(context.range, "15m") });
  const rows = polled.data;
  return (
    <>
      <PanelHead title={title} polled={polled} link={link} />
      <div class="panel-body flush">
        {rows && rows.length > 0 && polled.error?.status !== 400 ? (
          <Lines rows={rows} label={title ?? "Log lines"} />
        ) : (
          <Blank polled={polled} empty="No log matches in this time range" />
        )}
      </div>
    </>
  );
}

function AlertsPanel({ title, context }: { title: string | undefined; context: Context }): JSX.Element {
  const at = useNow();
  const polled = usePolled(`alerts ${context.round}`, (signal) => get<{ alerts: Alert[] }>("alerts", {}, signal), context.refresh);
  const alerts = sortAlerts(polled.data?.alerts ?? []);
  return (
    <>
      <PanelHead title={title ?? "Alerts"} polled={polled} link={href(["alerts"])} />
      <div class="panel-body scroll" tabIndex={0}>
        {alerts.length > 0 ? <AlertLines alerts={alerts} at={at} /> : <Blank polled={polled} empty="Nothing is firing" />}
      </div>
    </>
  );
}
