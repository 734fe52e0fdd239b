// Icons, drawn on a grid of 16.
import type { JSX } from "preact";

const PATHS = {
  search: "M7 12A5 5 0 1 0 7 2a5 5 0 0 0 0 10Zm3.6-1.4L14 14",
  clock: "M8 14A6 6 0 1 0 8 2a6 6 0 0 0 0 12Zm0-9.3V8l2.3 1.5",
  chevron: "m6 4 4 4-4 4",
  down: "m4 6 4 4 4-4",
  plus: "M8 3.5v9M3.5 8h9",
  minus: "M3.5 8h9",
  copy: "M6 5.5h7v8H6zM3.5 10.5v-8h6.5",
  sun: "M8 10.8a2.8 2.8 0 1 0 0-5.6 2.8 2.8 0 0 0 0 5.6ZM8 1.5v1.3M8 13.2v1.3M1.5 8h1.3M13.2 8h1.3M3.4 3.4l.9.9M11.7 11.7l.9.9M12.6 3.4l-.9.9M4.3 11.7l-.9.9",
  moon: "M13.3 9.7A5.7 5.7 0 0 1 6.3 2.7a5.7 5.7 0 1 0 7 7Z",
  auto: "M8 14A6 6 0 1 0 8 2a6 6 0 0 0 0 12ZM8 2v12M8 5.5h4.5M8 8h5.5M8 10.5h4.7",
  close: "m4 4 8 8M12 4l-8 8",
  warn: "M8 2.3 14.3 13.3H1.7ZM8 6.5v3.3M8 11.4v.2",
  logs: "M2.5 4h11M2.5 8h8M2.5 12h9.5",
  board: "M2.5 2.5h11v11h-11zM2.5 7h11M7.5 7v6.5",
  bell: "M4 7a4 4 0 0 1 8 0c0 3.5 1.3 4.3 1.3 4.3H2.7S4 10.5 4 7ZM6.7 13.5a1.4 1.4 0 0 0 2.6 0",
  pipe: "M2 5h4.5l3 6H14M2 11h3M11 5h3",
  play: "M5 3.5v9l7-4.5z",
  pause: "M5.5 3.5v9M10.5 3.5v9",
  up: "m4 10 4-4 4 4",
  left: "m10 4-4 4 4 4",
  reset: "M3 8a5 5 0 1 0 1.6-3.7M3 2.5v2.7h2.7",
  reload: "M13 8A5 5 0 1 1 11.5 4.4M11.7 1.8v2.9H8.8",
} as const;

export type IconName = keyof typeof PATHS;

export function Icon({ name }: { name: IconName }): JSX.Element {
  return (
    <svg class="icon" viewBox="0 0 16 16" aria-hidden="true">
      <path d={PATHS[name]} />
    </svg>
  );
}

/** The log line that a ship streams astern. */
export function Logo(): JSX.Element {
  return (
    <svg class="logo" viewBox="0 0 32 32" aria-hidden="true">
      <path class="logo-sea" d="M3 10.5c4 0 4-4 8-4s4 4 8 4 4-4 8-4" />
      <path class="logo-line" d="M3 25c4.5 0 5.5-10.5 10.5-10.5 3.6 0 3.6 6 7 6 2.3 0 3-2 4.5-2.7" />
      <circle class="logo-float" cx="27.4" cy="16.8" r="2.6" />
    </svg>
  );
}
