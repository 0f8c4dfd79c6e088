import { DatapathError, EntryError, noteWritten } from "./errors.ts";
import type { DatapathMap, ServiceCounters, ServiceEntry, ServiceKey } from "./types.ts";

/**
 * The map of services, whose counters go with them: no service that is written has those of one that had its id before. Errors are about
 * services, an `EntryError` about the one of that index; counters that cannot be deleted are tried again before the next service is written, which
 * throws a plain `DatapathError` where they still cannot.
 */
export function withCounters(
  services: DatapathMap<ServiceKey, ServiceEntry>,
  counters: Pick<DatapathMap<number, ServiceCounters>, "entries" | "deleteAll">,
): DatapathMap<ServiceKey, ServiceEntry> {
  /** Ids of services that are gone and may have counters still; at first, those that an agent left which was killed in between. */
  const left = new Set(counters.entries().map(([id]) => id));
  if (left.size > 0) for (const [, { id }] of services.entries()) left.delete(id);

  function forget(): void {
    if (left.size === 0) return;
    try {
      counters.deleteAll([...left]);
    } catch (error) {
      if (!(error instanceof EntryError)) throw error;
      // Its index is none of the services that the caller writes.
      throw new DatapathError(`counters of services that are gone: ${error.message}`, error.errno);
    }
    left.clear();
  }

  function setAll(entries: ReadonlyArray<[ServiceKey, ServiceEntry]>): void {
    forget();
    services.setAll(entries);
  }

  function deleteAll(keys: readonly ServiceKey[]): void {
    const ids = keys.map((key) => services.get(key)?.id);
    noteWritten(
      ids,
      () => services.deleteAll(keys),
      (id) => {
        if (id !== undefined) left.add(id);
      },
    );
    // Once they are gone: a frame that finds its service counts, where need be on counters made anew.
    try {
      forget();
    } catch {
      // The services are gone all the same. See `setAll`.
    }
  }

  return {
    ...services,
    set: (key, entry) => setAll([[key, entry]]),
    setAll,
    delete: (key) => {
      const there = services.get(key) !== undefined;
      deleteAll([key]);
      return there;
    },
    deleteAll,
  };
}
