import { noteWritten } from "../datapath/errors.ts";
import type { DatapathMap } from "../datapath/types.ts";

/** What of a map the agent uses where it alone writes it. */
export type Mirror<K, V> = Pick<DatapathMap<K, V>, "get" | "setAll" | "deleteAll" | "entries">;

/**
 * A map that this process alone writes: read once, at the first use, and answered from memory ever after; writes go through, and of those that fail
 * half-way, what was done is known. `textOf` gives each key a text of its own.
 */
export function mirror<K, V>(map: Mirror<K, V>, textOf: (key: K) => string): Mirror<K, V> {
  let known: Map<string, [K, V]> | undefined;
  function entries(): Map<string, [K, V]> {
    known ??= new Map(map.entries().map((entry) => [textOf(entry[0]), entry]));
    return known;
  }
  return {
    get: (key) => entries().get(textOf(key))?.[1],
    setAll(some) {
      const mirrored = entries();
      noteWritten(
        some,
        () => map.setAll(some),
        (entry) => mirrored.set(textOf(entry[0]), entry),
      );
    },
    deleteAll(keys) {
      const mirrored = entries();
      noteWritten(
        keys,
        () => map.deleteAll(keys),
        (key) => mirrored.delete(textOf(key)),
      );
    },
    entries: () => [...entries().values()],
  };
}
