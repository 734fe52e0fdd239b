// Light, dark, or as the system has it; and the colours that a canvas needs as plain values.
import { useEffect, useState } from "preact/hooks";

export type Theme = "auto" | "light" | "dark";
const KEY = "taffrail-theme";

function stored(): Theme {
  try {
    const value = localStorage.getItem(KEY);
    return value === "light" || value === "dark" ? value : "auto";
  } catch {
    return "auto";
  }
}

let theme = stored();
const listeners = new Set<() => void>();
const resolved = new Map<string, string>();

function apply(): void {
  if (theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  resolved.clear();
  for (const listener of listeners) listener();
}

/** Puts the stored choice into effect; to be called before the page is drawn. */
export function initTheme(): void {
  apply();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", apply);
}

export function setTheme(next: Theme): void {
  theme = next;
  try {
    localStorage.setItem(KEY, next);
  } catch {
    // Storage may be forbidden; the choice then lasts as long as the page.
  }
  apply();
}

/** The choice, and a number that changes whenever colours do. */
export function useTheme(): { theme: Theme; version: number } {
  const [version, setVersion] = useState(0);
  useEffect(() => {
    const listener = () => setVersion((old) => old + 1);
    listeners.add(listener);
    return () => {
      listeners.delete(listener);
    };
  }, []);
  return { theme, version };
}

/** The present value of a colour such as `--text`, as a canvas understands it. */
export function color(name: string): string {
  let value = resolved.get(name);
  if (value === undefined) {
    const probe = document.createElement("span");
    probe.style.color = `var(${name})`;
    document.body.append(probe);
    value = getComputedStyle(probe).color;
    probe.remove();
    resolved.set(name, value);
  }
  return value;
}

/** A colour from `color` with another opacity. */
export function faded(value: string, alpha: number): string {
  const parts = /^rgba?\((\d+), (\d+), (\d+)/.exec(value);
  return parts ? `rgba(${parts[1]}, ${parts[2]}, ${parts[3]}, ${alpha})` : value;
}
