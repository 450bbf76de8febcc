/** Text in columns of a terminal, where some characters take two and some none. */
import stringWidth from "string-width";

const segmenter = new Intl.Segmenter(undefined, { granularity: "grapheme" });

/** What a person calls a character. */
export const graphemes = (text: string): string[] =>
  [...segmenter.segment(text)].map(({ segment }) => segment);

/** Columns that a text without control characters takes. */
export const widthOf = (text: string): number => stringWidth(text);

/** Exactly `columns` wide: cut with an ellipsis, or filled up. */
export function fit(text: string, columns: number, align: "left" | "right" = "left"): string {
  if (columns <= 0) return "";
  const cut = widthOf(text) > columns ? `${cutTo(text, columns - 1)}…` : text;
  const rest = " ".repeat(Math.max(0, columns - widthOf(cut)));
  return align === "left" ? cut + rest : rest + cut;
}

/** As much of the start as fits. */
export function cutTo(text: string, columns: number): string {
  let kept = "";
  let width = 0;
  for (const char of graphemes(text)) {
    width += widthOf(char);
    if (width > columns) break;
    kept += char;
  }
  return kept;
}

/** Lines of at most `columns`, broken at spaces where there are some. */
export function wrap(text: string, columns: number): string[] {
  const room = Math.max(columns, 2);
  // Most lines of most mails; a long one is cut up once, not once for each line that it makes.
  if (text.length * 2 <= room || widthOf(text) <= room) return [text];
  const lines: string[] = [];
  let line = "";
  let width = 0;
  for (const word of text.split(/(?<= )(?=[^ ])/)) {
    const wide = widthOf(word.trimEnd());
    if (width > 0 && width + wide > room) {
      lines.push(line.trimEnd());
      [line, width] = ["", 0];
    }
    if (wide <= room) {
      line += word;
      width += widthOf(word);
      continue;
    }
    for (const char of graphemes(word)) {
      const w = widthOf(char);
      if (width + w > room) {
        lines.push(line.trimEnd());
        [line, width] = ["", 0];
      }
      line += char;
      width += w;
    }
  }
  return [...lines, line.trimEnd()];
}
