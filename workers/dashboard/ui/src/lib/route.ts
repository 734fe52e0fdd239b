// The view is what the address says: `#/logs?q=level:error&range=15m`. Every view is a deep link.
import { useCallback, useEffect, useState } from "preact/hooks";

export interface Route {
  path: string[];
  params: URLSearchParams;
}

function decode(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

function current(): Route {
  const hash = location.hash.replace(/^#\/?/, "");
  const cut = hash.indexOf("?");
  const path = (cut < 0 ? hash : hash.slice(0, cut)).split("/").filter(Boolean).map(decode);
  return { path, params: new URLSearchParams(cut < 0 ? "" : hash.slice(cut + 1)) };
}

/** The address of a view, to be put in a link. */
export function href(path: string[], params: Record<string, string | undefined> = {}): string {
  const query = new URLSearchParams();
  for (const [key, value] of Object.entries(params)) if (value !== undefined && value !== "") query.set(key, value);
  const text = query.toString();
  return `#/${path.map(encodeURIComponent).join("/")}${text ? `?${text}` : ""}`;
}

/** The present view, kept up with the address. */
export function useRoute(): Route {
  const [route, setRoute] = useState(current);
  useEffect(() => {
    const changed = () => setRoute(current());
    addEventListener("hashchange", changed);
    addEventListener("popstate", changed);
    return () => {
      removeEventListener("hashchange", changed);
      removeEventListener("popstate", changed);
    };
  }, []);
  return route;
}

export type SetParams = (changes: Record<string, string | undefined>) => void;

/** Changes parts of the present address; each change is a step that the back button undoes. */
export function useSetParams(): SetParams {
  return useCallback((changes) => {
    const { path, params } = current();
    const next = Object.fromEntries(params);
    const target = href(path, { ...next, ...changes });
    // The full address: a bare fragment would be resolved against <base>.
    const url = new URL(location.href);
    url.hash = target;
    if (url.href !== location.href) location.href = url.href;
  }, []);
}
