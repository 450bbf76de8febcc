/** The window itself: raw keys in, changed lines out, and everything as it was when it is left. */
import { emitKeypressEvents, type Key } from "node:readline";
import type { Line, Picture, SpanStyle } from "./picture.js";
import type { Event } from "./state.js";

export interface Terminal {
  readonly stdin: NodeJS.ReadStream;
  readonly stdout: NodeJS.WriteStream;
  readonly color: boolean;
}

export interface Window {
  size(): { readonly columns: number; readonly rows: number };
  show(picture: Picture): void;
  /** Puts everything back. May be called at any time, and again. */
  leave(): void;
}

export interface WindowListener {
  readonly onInput: (event: Extract<Event, { kind: "key" | "text" }>) => void;
  readonly onResize: () => void;
  /** Nobody types any more: the terminal is gone. */
  readonly onEnd: () => void;
}

// DECSET: alternate screen, autowrap, cursor (xterm's ctlseqs).
const enter = "\u001b[?1049h\u001b[?7l\u001b[2J";
const exit = "\u001b[0m\u001b[?7h\u001b[?25h\u001b[?1049l";
const hideCursor = "\u001b[?25l";
const showCursor = "\u001b[?25h";

const codes: { readonly [S in SpanStyle]: { readonly always?: number; readonly color?: string } } =
  {
    bar: { always: 7 },
    selected: { always: 7 },
    dim: { always: 2 },
    bold: { always: 1 },
    mine: { color: "30;46" },
    theirs: { color: "30;47" },
    error: { always: 1, color: "31" },
  };

export function openWindow(
  { stdin, stdout, color }: Terminal,
  { onInput, onResize, onEnd }: WindowListener,
): Window {
  let shown: string[] = [];
  let isOpen = true;
  const onKeypress = (text: string | undefined, key: Key): void => {
    const input = inputOf(text, key);
    if (input !== undefined) onInput(input);
  };
  const redraw = (): void => {
    shown = [];
    stdout.write("\u001b[2J");
    onResize();
  };
  const leave = (): void => {
    if (!isOpen) return;
    isOpen = false;
    process.off("exit", leave);
    stdin.off("keypress", onKeypress);
    stdin.off("end", onEnd);
    stdout.off("resize", redraw);
    stdout.write(exit);
    // A terminal that is gone can't be put back.
    try {
      stdin.setRawMode(false);
    } catch {
      // It is gone.
    }
    stdin.pause();
  };
  emitKeypressEvents(stdin);
  stdin.setRawMode(true);
  stdin.on("keypress", onKeypress);
  stdin.on("end", onEnd);
  stdout.on("resize", redraw);
  // Whatever ends the process: a bug, a signal that is handled, process.exit.
  process.on("exit", leave);
  stdin.resume();
  stdout.write(enter);
  return {
    size: () => ({ columns: stdout.columns, rows: stdout.rows }),
    show: ({ lines, cursor }) => {
      if (!isOpen) return;
      const drawn = lines.map((line) => octetsOf(line, color));
      const changed = drawn.flatMap((line, row) =>
        line === shown[row] ? [] : [`\u001b[${row + 1};1H${line}\u001b[0m\u001b[K`],
      );
      const place =
        cursor === undefined ? "" : `\u001b[${cursor.row + 1};${cursor.column + 1}H${showCursor}`;
      stdout.write(hideCursor + changed.join("") + place);
      shown = drawn;
    },
    leave,
  };
}

function octetsOf(line: Line, color: boolean): string {
  return line
    .map(({ text, style }) => {
      if (style === undefined) return text;
      const { always, color: hue } = codes[style];
      const code = [...(always === undefined ? [] : [always]), ...(color && hue ? [hue] : [])];
      return code.length === 0 ? text : `\u001b[0;${code.join(";")}m${text}\u001b[0m`;
    })
    .join("");
}

const named: Readonly<Record<string, string>> = { return: "enter", linefeed: "enter" };
const keys = new Set(
  "up down left right home end pageup pagedown enter escape tab backspace delete".split(" "),
);

/** What readline makes of the octets, in our words; undefined for keys that mean nothing here. */
export function inputOf(
  text: string | undefined,
  key: Pick<Key, "name" | "ctrl" | "meta" | "shift">,
): Extract<Event, { kind: "key" | "text" }> | undefined {
  const { name = "", ctrl = false, meta = false, shift = false } = key;
  const own = named[name] ?? name;
  if (ctrl && /^[a-z]$/.test(own)) return { kind: "key", key: `ctrl-${own}` };
  // RFC 1345's ^H is what some terminals send for backspace.
  if (own === "tab") return { kind: "key", key: shift ? "backtab" : "tab" };
  if (keys.has(own)) return { kind: "key", key: own };
  if (meta || ctrl || text === undefined || /^\p{Cc}/u.test(text)) return undefined;
  return { kind: "text", text };
}
