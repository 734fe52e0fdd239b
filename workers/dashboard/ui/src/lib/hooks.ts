// Hooks that several views use.
import type { RefObject } from "preact";
import { useCallback, useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { type ApiError, type Connection, getConnection, onConnection } from "./api";

export interface Polled<T> {
  data: T | undefined;
  /** Why the last try failed; `data` is then that of the try before. */
  error: ApiError | undefined;
  loading: boolean;
  reload: () => void;
}

/**
 * Loads at once, whenever `key` changes, every `interval` milliseconds (0 is never), when the page is shown again, and
 * when the API answers again. Old data of the same `key` stays until there is new; requests never overlap.
 */
export function usePolled<T>(key: string, load: (signal: AbortSignal) => Promise<T>, interval: number): Polled<T> {
  const [state, setState] = useState<{ key: string; data?: T; error?: ApiError; loading: boolean }>({ key, loading: true });
  const loader = useRef(load);
  loader.current = load;
  const [tick, setTick] = useState(0);

  useEffect(() => {
    let timer = 0;
    let controller: AbortController | undefined;
    let ended = false;
    // A server that takes long is asked less often.
    const again = (took: number) => {
      if (interval > 0 && !ended) timer = window.setTimeout(run, Math.max(interval, 3 * took));
    };
    const run = async () => {
      window.clearTimeout(timer);
      if (controller || ended) return;
      if (document.hidden) return;
      controller = new AbortController();
      setState((old) => ({ ...old, loading: true }));
      const start = performance.now();
      try {
        const data = await loader.current(controller.signal);
        if (!ended) setState({ key, data, loading: false });
      } catch (error) {
        if (!ended) {
          setState((old) => ({ key, error: error as ApiError, loading: false, ...(old.key === key && { data: old.data }) }));
        }
      }
      controller = undefined;
      again(performance.now() - start);
    };
    const usable = ({ downSince, locked }: Connection) => downSince === null && !locked;
    let wasUsable = usable(getConnection());
    const stop = onConnection((connection) => {
      if (!wasUsable && usable(connection)) void run();
      wasUsable = usable(connection);
    });
    const shown = () => void run();
    document.addEventListener("visibilitychange", shown);
    void run();
    return () => {
      ended = true;
      controller?.abort();
      window.clearTimeout(timer);
      stop();
      document.removeEventListener("visibilitychange", shown);
    };
  }, [key, interval, tick]);

  const reload = useCallback(() => setTick((old) => old + 1), []);
  const same = state.key === key;
  return {
    data: state.data,
    error: same ? state.error : undefined,
    loading: state.loading || !same,
    reload,
  };
}

/** The size of an element in CSS pixels, kept up to date. */
export function useSize<E extends Element>(): [RefObject<E | null>, { width: number; height: number }] {
  const ref = useRef<E>(null);
  const [size, setSize] = useState({ width: 0, height: 0 });
  useLayoutEffect(() => {
    const element = ref.current;
    if (!element) return;
    const observer = new ResizeObserver(([entry]) => {
      if (!entry) return;
      const { width, height } = entry.contentRect;
      setSize((old) => (old.width === width && old.height === height ? old : { width, height }));
    });
    observer.observe(element);
    return () => observer.disconnect();
  }, []);
  return [ref, size];
}

/** Whether the element has come near the screen; once seen it stays seen. */
export function useSeen<E extends Element>(): [RefObject<E | null>, boolean] {
  const ref = useRef<E>(null);
  const [seen, setSeen] = useState(false);
  useEffect(() => {
    const element = ref.current;
    if (!element || seen) return;
    const observer = new IntersectionObserver(
      (entries) => {
        if (entries.some((entry) => entry.isIntersecting)) setSeen(true);
      },
      { rootMargin: "300px" },
    );
    observer.observe(element);
    return () => observer.disconnect();
  }, [seen]);
  return [ref, seen];
}

/** Calls back on a press outside the element and on Escape. */
export function useDismiss(ref: RefObject<Element | null>, open: boolean, dismiss: () => void): void {
  useEffect(() => {
    if (!open) return;
    const pressed = (event: PointerEvent) => {
      if (!ref.current?.contains(event.target as Node)) dismiss();
    };
    const key = (event: KeyboardEvent) => {
      if (event.key === "Escape") dismiss();
    };
    document.addEventListener("pointerdown", pressed);
    document.addEventListener("keydown", key);
    return () => {
      document.removeEventListener("pointerdown", pressed);
      document.removeEventListener("keydown", key);
    };
  }, [open]);
}

/** The present time, anew every second, for ages on screen. */
export function useNow(): number {
  const [time, setTime] = useState(Date.now);
  useEffect(() => {
    const timer = window.setInterval(() => setTime(Date.now()), 1000);
    return () => window.clearInterval(timer);
  }, []);
  return time;
}
