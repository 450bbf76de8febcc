/** The ring as a drawn circle: id 0 at the top, ids grow clockwise. */
import { shortId } from "./table.js";

export interface PicturePoint {
  readonly id: string;
  readonly alive: boolean;
}

/** More would write over each other; the table below the picture is in ring order anyway. */
export const pointsMax = 16;
const rows = 11;
const circleColumns = 25;
const labelColumns = 14;
/** Enough for a line without gaps. */
const circleSteps = 120;

/** Lines of at most 53 columns; undefined when there are too many points for a circle. */
export function drawRing(points: readonly PicturePoint[], bits: number): string[] | undefined {
  if (points.length === 0 || points.length > pointsMax) return undefined;
  const canvas = new Canvas(circleColumns + 2 * labelColumns, rows);
  for (let step = 0; step < circleSteps; step += 1) {
    const { column, row } = place(step / circleSteps);
    canvas.put(column, row, "·");
  }
  for (const { id, alive } of points) {
    const turn = Number((BigInt(id) * 1_000_000n) >> BigInt(bits)) / 1_000_000;
    const { column, row } = place(turn);
    canvas.put(column, row, alive ? "●" : "○");
    const label = shortId(id, bits);
    const start = turn <= 0.5 ? column + 1 : column - label.length - 2;
    canvas.write(start, row, ` ${label} `);
  }
  return canvas.lines();
}

function place(turn: number): { column: number; row: number } {
  const angle = turn * 2 * Math.PI;
  const middle = labelColumns + (circleColumns - 1) / 2;
  return {
    column: Math.round(middle + ((circleColumns - 1) / 2) * Math.sin(angle)),
    row: Math.round(((rows - 1) / 2) * (1 - Math.cos(angle))),
  };
}

class Canvas {
  private readonly cells: string[][];

  constructor(
    private readonly columns: number,
    rowCount: number,
  ) {
    this.cells = Array.from({ length: rowCount }, () => new Array<string>(columns).fill(" "));
  }

  put(column: number, row: number, char: string): void {
    const line = this.cells[row];
    if (line !== undefined && column >= 0 && column < this.columns) line[column] = char;
  }

  /** Leaves members that are there already visible: a label gives way, not a point. */
  write(column: number, row: number, text: string): void {
    for (const [offset, char] of [...text].entries()) {
      const at = this.cells[row]?.[column + offset];
      if (at === " " || at === "·") this.put(column + offset, row, char);
    }
  }

  lines(): string[] {
    return this.cells.map((line) => line.join("").trimEnd());
  }
}
