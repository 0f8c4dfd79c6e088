/** Rows as aligned columns, two spaces apart, under their headings; every line ends with a newline. */
export function formatTable(headings: readonly string[], rows: ReadonlyArray<readonly string[]>): string {
  const all = [headings, ...rows];
  const widths = headings.map((_, column) => Math.max(...all.map((row) => row[column]?.length ?? 0)));
  return all
    .map((row) => row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join("  "))
    .map((line) => `${line.trimEnd()}\n`)
    .join("");
}
