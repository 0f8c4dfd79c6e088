/** Names further away than this are taken for another word, not for a slip. */
const MAX_EDITS = 2;

/** The entry of `known` that `word` was probably meant to be: cut short, in other case, or with at most two slips. */
export function suggest(word: string, known: readonly string[]): string | undefined {
  const lower = word.toLowerCase();
  const cutShort = known.find((name) => lower.length > MAX_EDITS && name.toLowerCase().startsWith(lower));
  if (cutShort !== undefined) return cutShort;
  const [best] = known
    .map((name) => ({ name, edits: editDistance(lower, name.toLowerCase()) }))
    .sort((a, b) => a.edits - b.edits);
  return best !== undefined && best.edits <= MAX_EDITS && best.edits < lower.length ? best.name : undefined;
}

/** Levenshtein distance: the fewest letters to insert, delete or replace that turn `a` into `b`. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, column) => column);
  for (const [index, letter] of [...a].entries()) {
    const next = [index + 1];
    for (let column = 1; column <= b.length; column++) {
      const replaced = row[column - 1]! + (letter === b[column - 1] ? 0 : 1);
      next.push(Math.min(replaced, row[column]! + 1, next[column - 1]! + 1));
    }
    row = next;
  }
  return row[b.length]!;
}
