// The shapes of the REST API, as far as the page reads them. Everything a server may leave out is optional.

export type Labels = Record<string, string>;
export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

export interface LogLine {
  id?: string;
  timestamp: string;
  level?: string | null;
  message?: string | null;
  service?: string | null;
  host?: string | null;
  tags?: Record<string, string>;
  fields?: Record<string, Json>;
}

export interface LogPage {
  logs: LogLine[];
  total: number;
  cursor?: string | null;
}

export interface HistogramBucket {
  /** Milliseconds since 1970. */
  time: number;
  count: number;
  levels: Record<string, number>;
}

export interface Histogram {
  from: number;
  to: number;
  /** Milliseconds. */
  interval: number;
  total: number;
  buckets: HistogramBucket[];
}

export interface RangeSeries {
  labels: Labels;
  /** Unix seconds and value. */
  values: [number, number | null][];
}

export interface RangeAnswer {
  series: RangeSeries[];
}

export type AlertState = "Firing" | "Pending" | "Inactive" | "NoData" | "Stalled" | "Error";

export interface Alert {
  rule: string;
  namespace?: string;
  state: AlertState;
  labels: Labels;
  annotations: Labels;
  value?: number | null;
  activeAt?: string | null;
  firedAt?: string | null;
  resolvedAt?: string | null;
  query?: string | null;
  threshold?: number | null;
  operator?: string | null;
}

export interface Condition {
  type: string;
  status: string;
  reason?: string;
  message?: string;
  lastTransitionTime?: string;
}

export interface RuleSpec {
  name?: string;
  query?: string;
  expr?: string;
  logs?: { q: string; function?: string; by?: string[] };
  operator?: string;
  threshold?: number;
  duration?: string;
  for?: string;
  interval?: string;
  labels?: Labels;
  suspend?: boolean;
}

export interface RuleStatus {
  state?: AlertState;
  value?: number | null;
  alerts?: unknown[];
  activeAt?: string | null;
  lastEvaluation?: string | null;
  conditions?: Condition[];
}

export interface Rule {
  namespace: string;
  name: string;
  title?: string | null;
  spec: RuleSpec;
  status?: RuleStatus | null;
  ready?: boolean | null;
  message?: string | null;
}

/** A file, or a part of one, that could not be loaded. */
export interface Problem {
  file: string;
  line?: number | null;
  column?: number | null;
  message: string;
}

export interface DashboardEntry {
  namespace: string;
  name: string;
  title?: string | null;
  panels: number;
}

export type PanelType =
  | "timeseries"
  | "stat"
  | "gauge"
  | "bar"
  | "table"
  | "heatmap"
  | "logs"
  | "alerts"
  | "text";

export type Severity = "info" | "warning" | "critical";

export interface Threshold {
  value: number;
  severity?: Severity;
}

export interface PanelQuery {
  query?: string;
  expr?: string;
  duration?: string;
  legend?: string;
}

export interface Panel {
  title?: string;
  type?: PanelType;
  unit?: string;
  queries?: PanelQuery[];
  logs?: { query?: string; limit?: number };
  text?: string;
  thresholds?: Threshold[];
  width?: number;
  height?: number;
}

export interface Variable {
  name: string;
  labelValues?: { metric: string; label: string };
  values?: string[];
  default?: string;
}

export interface DashboardSpec {
  title?: string;
  range?: string;
  refresh?: string;
  variables?: Variable[];
  panels?: Panel[];
}

export interface Dashboard {
  namespace: string;
  name: string;
  spec: DashboardSpec;
  generation?: number | null;
}

export interface PipelineSpec {
  source?: Record<string, Json>;
  sink?: Record<string, Json>;
  metrics?: unknown[];
  transform?: string;
}

export interface PipelineStatus {
  conditions?: Condition[];
  replicas?: number | null;
  lag?: number | null;
  consumed?: number;
  indexed?: number;
  deduplicated?: number;
  deadLettered?: number;
  filtered?: number;
  watermark?: string | null;
}

export interface Pipeline {
  namespace: string;
  name: string;
  spec: PipelineSpec;
  status?: PipelineStatus | null;
  ready?: boolean | null;
  message?: string | null;
}

export interface DeadLetter {
  id: string;
  reason: string;
  /** The store's status; 0 for a record that could not be read. */
  status: number;
  topic: string;
  partition: number;
  offset: number;
  timestamp: string;
  generation: number;
  size: number;
  /** The record, if one letter was asked for: as text, */
  original?: string;
  /** or else in Base64. */
  originalBase64?: string;
}

export interface DeadLetterReason {
  reason: string;
  status: number;
  count: number;
}

export interface DeadLetterPage {
  letters: DeadLetter[];
  total: number;
  reasons: DeadLetterReason[];
  cursor?: string | null;
}

export interface RedriveAnswer {
  /** Of a dry run. */
  matched?: number;
  reasons?: DeadLetterReason[];
  indexed?: number;
  duplicate?: number;
  filtered?: number;
  refused?: number;
  unsettled?: number;
  /** Where to go on. */
  cursor?: string | null;
}

export interface Health {
  status: string;
  /** Unix seconds. */
  timestamp: number;
  version: string;
}
