/** What the readers of all formats share. */
import type { Format, InterfaceAddress, InterfaceRef, Neighbour, Route } from "../types.ts";

/** A row as a reader makes it; the line that it stands on is added by `parseTables`. */
export type Fact =
  | ({ fact: "route" } & Omit<Route, "line">)
  | ({ fact: "neighbour" } & Omit<Neighbour, "line">)
  | ({ fact: "address" } & Omit<InterfaceAddress, "line">);

/** The interface that a heading names for the rows below it. */
export type Section = InterfaceRef & { mac?: string };

/** What a reader made of one or more lines. */
export interface Taken {
  format: Format;
  /** How many lines it took, at least one. */
  lines: number;
  facts: Fact[];
  /** For the rows of the same format below. */
  section?: Section;
}

/**
 * Reads at the line `at`: undefined when what stands there is not of its format. Readers go by the shape of rows, never by
 * headings, which are translated.
 */
export type Reader = (lines: readonly string[], at: number, section: Section) => Taken | undefined;

/** A reader of formats that have one fact a line. */
export function rowReader(
  format: Format,
  read: (line: string) => Fact | readonly Fact[] | undefined,
): Reader {
  return (lines, at) => {
    const facts = read(lines[at] ?? "");
    return facts === undefined ? undefined : { format, lines: 1, facts: [facts].flat() };
  };
}
