import { type FSWatcher, lstatSync, readlinkSync, watch } from "node:fs";
import { dirname, join, resolve } from "node:path";

/** How long a file must be left alone before it is read, in ms: editors and copies write in several steps. */
const QUIET = 200;

/** Links followed before a path is taken for a loop, as Linux does (path_resolution(7)). */
const MAX_LINKS = 40;

/** A name in a folder that decides which file a path leads to. */
export interface Lookup {
  folder: string;
  name: string;
}

/**
 * Calls back when the file at a path may have changed: written, replaced by a rename, removed, come back, or another one because a link or
 * a folder on the way to it is another. What happens in quick succession makes one call. `onFailure` is called, once at most, when the
 * kernel gives no watch (inotify(7) has limits); changes may then go unnoticed.
 */
export function watchFile(
  path: string,
  { onChange, onFailure }: { onChange: () => void; onFailure: (error: Error) => void },
): { close(): void } {
  const watchers = new Map<string, FSWatcher>();
  let names = new Map<string, Set<string>>();
  let timer: NodeJS.Timeout | undefined;
  let failed = false;

  function fail(error: Error): void {
    if (!failed) onFailure(error);
    failed = true;
  }

  /** Watches the folders that matter now. Each anew: one of the same name may be another. */
  function watchAll(): void {
    for (const watcher of watchers.values()) watcher.close();
    watchers.clear();
    names = new Map();
    for (const { folder, name } of lookupsOf(path))
      names.set(folder, (names.get(folder) ?? new Set()).add(name));
    for (const folder of names.keys()) {
      try {
        const watcher = watch(folder, (_, name) => {
          if (name === null || names.get(folder)?.has(name)) changed();
        });
        watcher.on("error", fail);
        watchers.set(folder, watcher);
      } catch (error) {
        // One that has gone since is missed in the folder above.
        if ((error as NodeJS.ErrnoException).code !== "ENOENT") fail(error as Error);
      }
    }
  }

  function changed(): void {
    clearTimeout(timer);
    timer = setTimeout(() => {
      watchAll();
      onChange();
    }, QUIET);
  }

  watchAll();
  return {
    close() {
      clearTimeout(timer);
      for (const watcher of watchers.values()) watcher.close();
    },
  };
}

/**
 * The names that the kernel looks up on the way to a file, links followed, up to the first that is not there: when none of them changes, the path leads
 * to the same file.
 */
export function lookupsOf(path: string): Lookup[] {
  const lookups: Lookup[] = [];
  const left = partsOf(resolve(path));
  let folder = "/";
  let links = 0;
  for (let name = left.shift(); name !== undefined; name = left.shift()) {
    if (name === "..") {
      folder = dirname(folder);
      continue;
    }
    lookups.push({ folder, name });
    const here = join(folder, name);
    const found = look(here);
    if (found === undefined || links > MAX_LINKS) break;
    if (found.target === undefined) {
      folder = here;
      continue;
    }
    links += 1;
    if (found.target.startsWith("/")) folder = "/";
    left.unshift(...partsOf(found.target));
  }
  return lookups;
}

/** What is at a path, with where it leads to when it is a link; undefined when that cannot be told, since nothing is there as a rule. */
function look(path: string): { target: string | undefined } | undefined {
  try {
    return { target: lstatSync(path).isSymbolicLink() ? readlinkSync(path) : undefined };
  } catch {
    return undefined;
  }
}

function partsOf(path: string): string[] {
  return path.split("/").filter((part) => part !== "" && part !== ".");
}
