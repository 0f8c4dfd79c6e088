import { type FSWatcher, readdirSync, statSync, watch } from "node:fs";
import { extname, join } from "node:path";
import type { Logger } from "pino";
import { type GuestMetadata, guestMetadataSchema } from "../config/guest-metadata.ts";
import { formatConfigError, parseFile } from "../config/load.ts";
import { readRegularFile } from "../config/read-file.ts";
import { messageOf } from "./errors.ts";
import { GUEST_KEY, guestKey } from "./guest-key.ts";

/** A directory with one file for each guest, `KEY.json`, `KEY.yaml` or `KEY.yml`, which is read again when it changes. */
export interface MetadataDirectory {
  /** What the files say, by key. */
  get(key: string): GuestMetadata | undefined;
  /** What is wrong with the directory and its files now. */
  problems(): string[];
  close(): void;
}

/** What is known of a file. */
interface Entry {
  /** Changes when the file does. */
  stamp: string;
  /** What it said when it last was right. */
  metadata?: GuestMetadata;
  problems: string[];
}

const EXTENSIONS: ReadonlySet<string> = new Set([".json", ".yaml", ".yml"]);

/** More than a right file ever needs, comments included, in bytes. */
const MAX_FILE = 2 ** 20;

/** Changes come in bursts; one look this many ms after the first of them serves all. */
const LOOK_DELAY = 100;

/** How often is looked without an event, in ms: for a directory that comes later, or is on a filesystem that tells nothing. */
const LOOK_INTERVAL = 30_000;

/**
 * Reads the directory and follows it. A file that is wrong changes nothing: what it said before counts, and log and `problems` say what is
 * wrong; so does a directory that cannot be read. `onChange` is called when what the files say may have changed. Never throws.
 */
export function followMetadataDirectory(path: string, log: Logger, onChange: () => void): MetadataDirectory {
  let entries = new Map<string, Entry>();
  let byKey = new Map<string, GuestMetadata>();
  let problems: string[] = [];
  let watcher: { inode: bigint; watcher: FSWatcher } | undefined;
  let timer: NodeJS.Timeout | undefined;

  /** The entry of a file: the one before, where the file has not changed; undefined where it is gone. */
  function read(name: string, before: Entry | undefined): Entry | undefined {
    const file = join(path, name);
    try {
      const stat = statSync(file, { bigint: true, throwIfNoEntry: false });
      if (stat === undefined) return undefined;
      const stamp = [stat.ino, stat.size, stat.mtimeNs, stat.ctimeNs].join();
      if (stamp === before?.stamp) return before;
      if (!stat.isFile() || stat.size > MAX_FILE)
        return { ...before, stamp, problems: [`${file}: not a file of at most ${MAX_FILE} bytes`] };
      const result = parseFile(readRegularFile(file), file, guestMetadataSchema);
      if (result.ok) return { stamp, metadata: result.value, problems: [] };
      return { ...before, stamp, problems: result.errors.map(formatConfigError) };
    } catch (error) {
      return { ...before, stamp: "", problems: [`${file}: cannot be read: ${messageOf(error)}`] };
    }
  }

  function look(): void {
    const found: string[] = [];
    try {
      keepWatching();
      const names = readdirSync(path).filter(
        (name) => !name.startsWith(".") && EXTENSIONS.has(extname(name)),
      );
      entries = new Map(
        names.sort().flatMap((name) => {
          const entry = read(name, entries.get(name));
          return entry === undefined ? [] : [[name, entry]];
        }),
      );
      byKey = new Map();
      for (const [name, entry] of entries) {
        const key = guestKey(name.slice(0, -extname(name).length));
        const file = join(path, name);
        found.push(...entry.problems);
        if (key === undefined) found.push(`${file}: the name is not ${GUEST_KEY}`);
        else if (byKey.has(key)) found.push(`${file}: another file is about ${key} too; remove one`);
        else if (entry.metadata !== undefined) byKey.set(key, entry.metadata);
      }
    } catch (error) {
      found.push(`cannot read the directory ${path}: ${messageOf(error)}`);
    }
    for (const problem of found.filter((problem) => !problems.includes(problem))) {
      log.error({ problem }, "metadata of a guest not taken over; what was known before counts");
    }
    problems = found;
    onChange();
  }

  function lookSoon(): void {
    timer ??= setTimeout(() => {
      timer = undefined;
      look();
    }, LOOK_DELAY);
  }

  /** Watches what is at the path now: another directory may have taken the place of the one before. Throws where there is none. */
  function keepWatching(): void {
    const inode = statSync(path, { bigint: true }).ino;
    if (watcher?.inode === inode) return;
    watcher?.watcher.close();
    watcher = { inode, watcher: watch(path, { persistent: false }, lookSoon) };
    watcher.watcher.on("error", () => {
      watcher?.watcher.close();
      watcher = undefined;
    });
  }

  look();
  const interval = setInterval(look, LOOK_INTERVAL).unref();
  return {
    get: (key) => byKey.get(key),
    problems: () => problems,
    close() {
      clearInterval(interval);
      clearTimeout(timer);
      watcher?.watcher.close();
    },
  };
}
