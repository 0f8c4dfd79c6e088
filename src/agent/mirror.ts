import type { DatapathMap } from "../datapath/types.ts";

/**
 * A map that this process alone writes: read once, at the first use, and answered from memory ever after; writes go through. `textOf` gives each
 * key a text of its own.
 */
export function mirror<K, V>(map: DatapathMap<K, V>, textOf: (key: K) => string): DatapathMap<K, V> {
  let known: Map<string, [K, V]> | undefined;
  function entries(): Map<string, [K, V]> {
    known ??= new Map(map.entries().map(([key, value]) => [textOf(key), [key, value]]));
    return known;
  }
  return {
    get: (key) => entries().get(textOf(key))?.[1],
    set(key, value) {
      const mirrored = entries();
      map.set(key, value);
      mirrored.set(textOf(key), [key, value]);
    },
    delete(key) {
      const mirrored = entries();
      const deleted = map.delete(key);
      mirrored.delete(textOf(key));
      return deleted;
    },
    entries: () => [...entries().values()],
  };
}
