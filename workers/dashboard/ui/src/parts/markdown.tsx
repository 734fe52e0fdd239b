// A small part of Markdown, made into elements: no text ever becomes markup.
import type { JSX } from "preact";

const INLINE = /`([^`]+)`|\*\*([^*]+)\*\*|\*([^*\s][^*]*)\*|_([^_\s][^_]*)_|\[([^\]]+)\]\(([^)\s]+)\)/;

/** Whether a link may be followed: no scripts, no data. */
function safeLink(target: string): boolean {
  return /^(https?:\/\/|mailto:|#|\/(?!\/)|\.{0,2}\/)/i.test(target);
}

function inline(text: string): (JSX.Element | string)[] {
  const out: (JSX.Element | string)[] = [];
  let rest = text;
  for (let match = INLINE.exec(rest); match; match = INLINE.exec(rest)) {
    if (match.index > 0) out.push(rest.slice(0, match.index));
    const [whole, code, strong, star, under, label, target] = match;
    if (code !== undefined) out.push(<code>{code}</code>);
    else if (strong !== undefined) out.push(<strong>{inline(strong)}</strong>);
    else if (star !== undefined || under !== undefined) out.push(<em>{inline(star ?? under ?? "")}</em>);
    else if (target !== undefined && safeLink(target)) {
      out.push(
        <a href={target} rel="noreferrer">
          {label}
        </a>,
      );
    } else out.push(whole);
    rest = rest.slice(match.index + whole.length);
  }
  if (rest) out.push(rest);
  return out;
}

const HEADING = /^(#{1,4})\s+(.*)$/;
const BULLET = /^\s*[-*]\s+(.*)$/;
const NUMBERED = /^\s*\d+[.)]\s+(.*)$/;
const FENCE = /^```/;

/** Headings, paragraphs, lists, fenced code, `code`, **strong**, *emphasis* and links. */
export function Markdown({ text }: { text: string }): JSX.Element {
  const lines = text.split(/\r?\n/);
  const blocks: JSX.Element[] = [];
  let at = 0;
  const take = (pattern: RegExp): string[] => {
    const found: string[] = [];
    for (let match = pattern.exec(lines[at] ?? ""); match && at < lines.length; match = pattern.exec(lines[at] ?? "")) {
      found.push(match[1] ?? "");
      at += 1;
    }
    return found;
  };
  while (at < lines.length) {
    const line = lines[at] ?? "";
    const heading = HEADING.exec(line);
    if (line.trim() === "") {
      at += 1;
    } else if (FENCE.test(line)) {
      const end = lines.findIndex((other, index) => index > at && FENCE.test(other));
      const stop = end < 0 ? lines.length : end;
      blocks.push(<pre>{lines.slice(at + 1, stop).join("\n")}</pre>);
      at = stop + 1;
    } else if (heading) {
      const Tag = `h${(heading[1]?.length ?? 1) + 2}` as "h3";
      blocks.push(<Tag>{inline(heading[2] ?? "")}</Tag>);
      at += 1;
    } else if (BULLET.test(line)) {
      blocks.push(<ul>{take(BULLET).map((item) => <li>{inline(item)}</li>)}</ul>);
    } else if (NUMBERED.test(line)) {
      blocks.push(<ol>{take(NUMBERED).map((item) => <li>{inline(item)}</li>)}</ol>);
    } else {
      const words: string[] = [];
      while (at < lines.length) {
        const next = lines[at] ?? "";
        if (next.trim() === "" || FENCE.test(next) || HEADING.test(next) || BULLET.test(next) || NUMBERED.test(next)) break;
        words.push(next.trim());
        at += 1;
      }
      blocks.push(<p>{inline(words.join(" "))}</p>);
    }
  }
  return <div class="markdown">{blocks}</div>;
}
