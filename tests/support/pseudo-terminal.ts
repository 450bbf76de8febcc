/** A program in a pseudo-terminal of 80×24 (util-linux's script), and what is on its screen. */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { endWithUs } from "./process.js";
import { waitUntil } from "./wait.js";

export class PseudoTerminal {
  /** All octets that the program wrote. */
  output = "";
  exitCode: number | null | undefined;
  readonly #child: ChildProcess;
  readonly #folder = mkdtempSync(join(tmpdir(), "ringpost-pty-"));

  /** `words`: the command; what it finds and leaves as the terminal's settings is kept. */
  constructor(words: readonly string[], env: NodeJS.ProcessEnv = {}) {
    const quoted = words.map((word) => `'${word.replaceAll("'", "'\\''")}'`).join(" ");
    const file = (name: string): string => join(this.#folder, name);
    const script = [
      `stty rows 24 cols 80; stty -g > ${file("before")}; tty > ${file("tty")}`,
      `sh -c 'echo $$ > ${file("pid")}; exec "$@"' sh ${quoted}`,
      `code=$?; stty -g > ${file("after")}; exit $code`,
    ].join("\n");
    this.#child = spawn("script", ["-qfec", script, "/dev/null"], {
      stdio: ["pipe", "pipe", "inherit"],
      env: { ...process.env, TERM: "xterm-256color", SHELL: "/bin/sh", ...env },
    });
    endWithUs(this.#child);
    this.#child.stdout?.setEncoding("utf8").on("data", (text: string) => {
      this.output += text;
    });
    this.#child.once("close", (code) => {
      this.exitCode = code;
    });
  }

  type(text: string): void {
    this.#child.stdin?.write(text);
  }

  /** Of the command, not of what runs it. */
  get pid(): number {
    return Number(this.#kept("pid"));
  }

  resize(columns: number, rows: number): void {
    execFileSync("stty", ["-F", this.#kept("tty"), "rows", `${rows}`, "cols", `${columns}`]);
  }

  /** Waits until the screen shows it; the screen is in the error. */
  async shows(pattern: RegExp, deadlineMs = 60_000): Promise<void> {
    await waitUntil(() => pattern.test(this.screen), {
      ...{ deadlineMs, everyMs: 20 },
      what: `${pattern} on the screen`,
    }).catch((error: unknown) => {
      throw new Error(`${String(error)}\n${this.screen}`);
    });
  }

  async ended(deadlineMs = 60_000): Promise<number | null> {
    await waitUntil(() => this.exitCode !== undefined, {
      ...{ deadlineMs, everyMs: 20 },
      what: `the end of the program\n${this.screen}`,
    });
    return this.exitCode ?? null;
  }

  /** True when the terminal's settings are what they were before, and the main screen is shown. */
  get isAsBefore(): boolean {
    const isMain =
      this.output.lastIndexOf("\u001b[?1049l") > this.output.lastIndexOf("\u001b[?1049h");
    const hasCursor =
      this.output.lastIndexOf("\u001b[?25h") > this.output.lastIndexOf("\u001b[?25l");
    const wraps = this.output.lastIndexOf("\u001b[?7h") > this.output.lastIndexOf("\u001b[?7l");
    return isMain && hasCursor && wraps && this.#kept("before") === this.#kept("after");
  }

  #kept(name: string): string {
    const path = join(this.#folder, name);
    return existsSync(path) ? readFileSync(path, "utf8").trim() : "";
  }

  /** The lines that were drawn, by the few sequences that `chord mail` uses (ECMA-48: CUP, ED, EL). */
  get screen(): string {
    const rows: string[] = [];
    let row = 0;
    const pieces = this.output.split("\u001b[?1049h").at(-1)?.split("\u001b[") ?? [];
    for (const piece of pieces) {
      const [, parameters = "", final = "", text = ""] =
        /^([\d;?]*)([A-Za-z])([^]*)$/.exec(piece) ?? [];
      if (final === "J") rows.length = 0;
      if (final === "H") {
        row = Number(parameters.split(";")[0] ?? "1") - 1;
        // Lines are drawn whole, from the first column; all else only places the cursor.
        if (text !== "" || parameters.endsWith(";1")) rows[row] = "";
      }
      rows[row] = (rows[row] ?? "") + text;
    }
    return Array.from(rows, (line) => (line ?? "").trimEnd()).join("\n");
  }
}
