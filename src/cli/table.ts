import { type Paint, PLAIN } from "./paint.ts";

/** How a table looks. */
export interface TableOptions {
  /** Headings of the columns whose cells stand at their right end: numbers. */
  right?: readonly string[];
  paint?: Paint;
}

/** Rows as aligned columns, two spaces apart, under their headings; every line ends with a newline. */
export function formatTable(
  headings: readonly string[],
  rows: ReadonlyArray<readonly string[]>,
  options: TableOptions = {},
): string {
  return tableWriter(headings, options)(rows);
}

/**
 * A table that comes in parts: gives the text of more rows, the first time under the headings. Columns are as wide as the widest cell until then.
 * Cells may be painted.
 */
export function tableWriter(
  headings: readonly string[],
  { right = [], paint = PLAIN }: TableOptions = {},
): (rows: ReadonlyArray<readonly string[]>) => string {
  const widths = headings.map(() => 0);
  let isFirst = true;
  return (rows) => {
    const all = isFirst ? [headings.map(paint.heading), ...rows] : rows;
    isFirst = false;
    for (const row of all)
      for (const [c, cell] of row.entries()) widths[c] = Math.max(widths[c] ?? 0, widthOf(cell));
    return all
      .map((row) =>
        row
          .map((cell, column) => {
            const blanks = " ".repeat((widths[column] ?? 0) - widthOf(cell));
            return right.includes(headings[column] ?? "") ? blanks + cell : cell + blanks;
          })
          .join("  "),
      )
      .map((line) => `${line.trimEnd()}\n`)
      .join("");
  };
}

/** What a cell takes on the screen: its marks take nothing (ECMA-48 SGR). */
function widthOf(cell: string): number {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: it begins each mark.
  return cell.replaceAll(/\u001b\[[\d;]*m/g, "").length;
}
