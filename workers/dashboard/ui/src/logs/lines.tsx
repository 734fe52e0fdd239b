// Log lines, newest first. A click opens one to all it says.
import { Component, type ComponentChildren, type JSX } from "preact";
import { useCallback, useLayoutEffect, useRef, useState } from "preact/hooks";
import { fullTime, isToday, preciseTime, shortDay } from "../lib/time";
import { CopyButton, levelClass } from "../parts/bits";
import { Icon } from "../parts/icons";
import type { Row } from "./feed";
import { detailsOf, fieldSummary } from "./query";

export type Filter = (key: string, value: string, negate: boolean) => void;

interface RowProps {
  row: Row;
  open: boolean;
  toggle: (key: string) => void;
  filter: Filter | undefined;
}

/** One line. Drawn anew only when something of it changes: there may be a thousand. */
class Line extends Component<RowProps> {
  override shouldComponentUpdate(next: RowProps): boolean {
    const now = this.props;
    return next.row !== now.row || next.open !== now.open || next.toggle !== now.toggle || next.filter !== now.filter;
  }

  click = (): void => {
    // Someone who marks text wants the text.
    if (!getSelection()?.toString()) this.props.toggle(this.props.row.key);
  };

  override render({ row, open, filter, toggle }: RowProps): JSX.Element {
    const { line, time } = row;
    const level = line.level ?? "";
    const known = !Number.isNaN(time);
    return (
      <li class={`line ${levelClass(level)} ${open ? "open" : ""}`}>
        <div class="line-head" onClick={this.click}>
          <button
            type="button"
            class="line-toggle"
            aria-expanded={open}
            aria-label="Details"
            onClick={(event) => {
              event.stopPropagation();
              toggle(row.key);
            }}
          >
            <Icon name="chevron" />
          </button>
          <time class="line-time" dateTime={line.timestamp} title={known ? fullTime(time) : line.timestamp}>
            {known && !isToday(time) && <span class="line-day">{shortDay(time)} </span>}
            {known ? preciseTime(time) : line.timestamp}
          </time>
          <span class="line-level">{level}</span>
          <span class="line-service" title={line.service ?? ""}>
            {line.service}
          </span>
          <span class="line-host" title={line.host ?? ""}>
            {line.host}
          </span>
          <span class="line-message">
            {line.message}
            <span class="line-fields">{fieldSummary(line)}</span>
          </span>
        </div>
        {open && <Details row={row} filter={filter} />}
      </li>
    );
  }
}

function Details({ row, filter }: { row: Row; filter: Filter | undefined }): JSX.Element {
  const { line } = row;
  return (
    <div class="details">
      <p class="details-message">{line.message}</p>
      <dl>
        <div class="detail">
          <dt>timestamp</dt>
          <dd>
            <span class="detail-value">{line.timestamp}</span>
            <span class="dim">{Number.isNaN(row.time) ? "" : fullTime(row.time)}</span>
          </dd>
        </div>
        {detailsOf(line).map(({ key, name, value }) => (
          <div class="detail" key={name}>
            <dt>{name}</dt>
            <dd>
              <span class="detail-value">{value}</span>
              {key !== undefined && filter && (
                <span class="detail-actions">
                  <button
                    type="button"
                    class="icon-button"
                    title={`Only logs with ${key} = ${value}`}
                    aria-label={`Filter for ${key} = ${value}`}
                    onClick={() => filter(key, value, false)}
                  >
                    <Icon name="plus" />
                  </button>
                  <button
                    type="button"
                    class="icon-button"
                    title={`Only logs without ${key} = ${value}`}
                    aria-label={`Filter out ${key} = ${value}`}
                    onClick={() => filter(key, value, true)}
                  >
                    <Icon name="minus" />
                  </button>
                  <CopyButton text={value} label="Copy the value" />
                </span>
              )}
            </dd>
          </div>
        ))}
      </dl>
      <div class="details-foot">
        <CopyButton text={JSON.stringify(line, null, 2)} label="Copy the log as JSON" />
        <span class="dim">Copy as JSON</span>
      </div>
    </div>
  );
}

interface ListProps {
  rows: Row[];
  filter?: Filter;
  label: string;
  children?: ComponentChildren;
}

/** Lines in a box that scrolls. Whoever has scrolled down keeps what they read when lines come in above. */
export function Lines({ rows, filter, label, children }: ListProps): JSX.Element {
  const [open, setOpen] = useState<ReadonlySet<string>>(new Set());
  const box = useRef<HTMLDivElement>(null);
  const anchor = useRef<{ key: string; top: number } | undefined>(undefined);
  const list = useRef<HTMLOListElement>(null);

  const toggle = useCallback((key: string) => {
    setOpen((old) => {
      const next = new Set(old);
      if (!next.delete(key)) next.add(key);
      return next;
    });
  }, []);

  // Remembers the first line in sight, and puts it back to where it was after rows have changed.
  const index = useRef<Row[]>(rows);
  useLayoutEffect(() => {
    const scroller = box.current;
    const held = anchor.current;
    if (scroller && held && scroller.scrollTop > 0) {
      const at = rows.findIndex((row) => row.key === held.key);
      const element = list.current?.children[at] as HTMLElement | undefined;
      if (element) scroller.scrollTop += element.getBoundingClientRect().top - held.top;
    }
    index.current = rows;
    remember();
  }, [rows]);
  const remember = () => {
    const scroller = box.current;
    if (!scroller || scroller.scrollTop <= 0) {
      anchor.current = undefined;
      return;
    }
    const edge = scroller.getBoundingClientRect().top;
    const children = list.current?.children ?? [];
    let low = 0;
    let high = children.length - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((children[middle]?.getBoundingClientRect().bottom ?? 0) > edge) high = middle;
      else low = middle + 1;
    }
    const row = index.current[low];
    const element = children[low];
    anchor.current = row && element && { key: row.key, top: element.getBoundingClientRect().top };
  };

  return (
    <div class="lines" ref={box} onScroll={remember} tabIndex={0} role="region" aria-label={label}>
      <ol ref={list}>
        {rows.map((row) => (
          <Line key={row.key} row={row} open={open.has(row.key)} toggle={toggle} filter={filter} />
        ))}
      </ol>
      {children}
    </div>
  );
}
