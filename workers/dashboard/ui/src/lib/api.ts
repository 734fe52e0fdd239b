// Requests to the REST API, and what is known of the connection to it.
import type { Health } from "./types";

/** What the API answered instead of what was asked for; or that it did not answer (`status` 0). */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    message: string,
    readonly code = "",
    /** Character of the query, counted from 1. */
    readonly column?: number,
  ) {
    super(message);
    this.name = "ApiError";
  }
}

export type Params = Record<string, string | number | undefined>;

const TIMEOUT_MS = 30_000;

/** The state of the connection: since when the API has not answered, and whether it wants to know who asks. */
export interface Connection {
  downSince: number | null;
  locked: boolean;
  version: string;
}

let connection: Connection = { downSince: null, locked: false, version: "" };
let clockOffset = 0;
const listeners = new Set<(connection: Connection) => void>();

function setConnection(change: Partial<Connection>): void {
  const next = { ...connection, ...change };
  if (next.downSince === connection.downSince && next.locked === connection.locked && next.version === connection.version) return;
  connection = next;
  for (const listener of listeners) listener(connection);
}

export function getConnection(): Connection {
  return connection;
}

/** Calls back on every change of the connection, until the returned function is called. */
export function onConnection(listener: (connection: Connection) => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/** Milliseconds since 1970 by the server's clock: time ranges must not depend on how wrong the browser's is. */
export function now(): number {
  return Date.now() + clockOffset;
}

const KEY = "taffrail-api-key";

function apiKey(): string | null {
  try {
    return sessionStorage.getItem(KEY);
  } catch {
    return null;
  }
}

/** Shows the key with all requests to come, until the tab is closed. */
export function presentKey(key: string): void {
  try {
    sessionStorage.setItem(KEY, key);
  } catch {
    // Without storage there is no way to keep it; the page then goes on asking.
  }
  setConnection({ locked: false });
}

function address(path: string, params: Params): string {
  const url = new URL(`api/v1/${path}`, document.baseURI);
  for (const [key, value] of Object.entries(params)) {
    if (value !== undefined && value !== "") url.searchParams.set(key, String(value));
  }
  return url.href;
}

function errorOf(status: number, body: unknown): ApiError {
  const error = (body as { error?: { code?: unknown; message?: unknown; column?: unknown } } | null)?.error;
  const text = typeof error?.message === "string" ? error.message : `the server answered with status ${status}`;
  // Whoever has typed a query knows what it is about.
  const message = text.replace(/^parameter `(q|query)`: /, "");
  const code = typeof error?.code === "string" ? error.code : "";
  const written = /\bcolumn (\d+)/.exec(message)?.[1];
  const column = typeof error?.column === "number" ? error.column : written ? Number(written) : undefined;
  return new ApiError(status, message, code, column);
}

/** Asks the API. Fails with an `ApiError`, or as aborted when `signal` says so. */
export async function get<T>(path: string, params: Params = {}, signal?: AbortSignal): Promise<T> {
  return send<T>(address(path, params), {}, signal);
}

/** Has the API do something. Fails with an `ApiError`. */
export async function post<T>(path: string, body: object): Promise<T> {
  const headers = { "content-type": "application/json" };
  return send<T>(address(path, {}), { method: "POST", headers, body: JSON.stringify(body) });
}

async function send<T>(url: string, request: { method?: string; headers?: Record<string, string>; body?: string }, signal?: AbortSignal): Promise<T> {
  const key = apiKey();
  const timeout = AbortSignal.timeout(TIMEOUT_MS);
  let response: Response;
  try {
    response = await fetch(url, {
      ...request,
      headers: { ...request.headers, accept: "application/json", ...(key !== null && { authorization: `Bearer ${key}` }) },
      signal: signal ? AbortSignal.any([signal, timeout]) : timeout,
    });
  } catch (error) {
    if (signal?.aborted) throw error;
    setConnection({ downSince: connection.downSince ?? Date.now() });
    throw new ApiError(0, timeout.aborted ? `no answer within ${TIMEOUT_MS / 1000} s` : "the server can't be reached");
  }
  let body: unknown = null;
  try {
    body = await response.json();
  } catch (error) {
    if (signal?.aborted) throw error;
    if (response.ok) throw new ApiError(response.status, "the server's answer is not JSON");
  }
  // A gateway in front of a dead server answers, too.
  const gone = response.status >= 502 && response.status <= 504 && body === null;
  setConnection({ downSince: gone ? (connection.downSince ?? Date.now()) : null });
  if (response.status === 401) setConnection({ locked: true });
  if (!response.ok) throw errorOf(response.status, body);
  return body as T;
}

/** Asks for the server's health; learns its version and its clock by the way. */
export async function checkHealth(): Promise<void> {
  const health = await get<Health>("health");
  // The server gives whole seconds: smaller differences say nothing.
  const difference = health.timestamp * 1000 + 500 - Date.now();
  clockOffset = Math.abs(difference) > 3000 ? difference : 0;
  setConnection({ version: health.version });
}
