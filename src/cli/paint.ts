/** Marks text for the terminal, or leaves it as it is. */
export interface Paint {
  heading(text: string): string;
  good(text: string): string;
  bad(text: string): string;
}

/** As it is: for files, pipes and tests. */
export const PLAIN: Paint = { heading: String, good: String, bad: String };

/** In colour: for terminals (ECMA-48 SGR: bold, green, red). */
export const COLOURED: Paint = {
  heading: (text) => `\u001b[1m${text}\u001b[22m`,
  good: (text) => `\u001b[32m${text}\u001b[39m`,
  bad: (text) => `\u001b[31m${text}\u001b[39m`,
};

/** What suits a stream: colours on a terminal that has them, unless the environment has NO_COLOR (no-color.org). */
export function paintFor(stream: { isTTY?: boolean; hasColors?: () => boolean }): Paint {
  return stream.isTTY && stream.hasColors?.() ? COLOURED : PLAIN;
}
