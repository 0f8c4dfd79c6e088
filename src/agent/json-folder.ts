import { existsSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { Logger } from "pino";
import { messageOf } from "./errors.ts";
import { readFileIfThere, removeFolderIfEmpty, syncFolder, TEMPORARY, writeFileAtomically } from "./files.ts";
import { makePrivateDir } from "./runtime-dir.ts";

/** A folder that keeps one thing in each file, as JSON, for its owner alone. */
export interface JsonFolder {
  /** Writes `KEY.json` whole or not at all. Throws where that cannot be. */
  write(key: string, content: unknown): void;
  /** Removes `KEY.json`; says whether there was one. */
  remove(key: string): boolean;
}

const SUFFIX = ".json";

/** Instead of what V8 says of it, which quotes the text: there may be secrets in it. */
const NOT_JSON = "not JSON";

/**
 * Opens a folder and reads what is in it: `parse` makes of each file's JSON what it stands for, or throws. A file that cannot be read stays as
 * it is, and the log says so: the others count all the same. Throws `AgentError` where the folder cannot be made.
 */
export function openJsonFolder<T>(
  dir: string,
  parse: (key: string, content: unknown) => T,
  log: Logger,
): { folder: JsonFolder; contents: Map<string, T> } {
  makePrivateDir(dir);
  const contents = new Map<string, T>();
  for (const name of readdirSync(dir)) {
    // Else it is not ours, or was left by a write that was cut short.
    if (!name.endsWith(SUFFIX)) continue;
    const file = join(dir, name);
    const key = name.slice(0, -SUFFIX.length);
    try {
      contents.set(key, parse(key, JSON.parse(readFileIfThere(file) ?? "")));
    } catch (error) {
      log.error(
        { file, reason: error instanceof SyntaxError ? NOT_JSON : messageOf(error) },
        "file damaged and left out; mend or remove it, and restart",
      );
    }
  }
  const pathOf = (key: string) => join(dir, key + SUFFIX);
  return {
    contents,
    folder: {
      write(key, content) {
        writeFileAtomically(pathOf(key), `${JSON.stringify(content, null, 1)}\n`);
      },
      remove(key) {
        try {
          rmSync(pathOf(key));
        } catch (error) {
          if ((error as NodeJS.ErrnoException).code === "ENOENT") return false;
          throw error;
        }
        syncFolder(dir);
        return true;
      },
    },
  };
}

/** Removes a folder of `openJsonFolder` with all that is in it; says whether there was anything. Files of others stay, and the folder then. */
export function removeJsonFolder(dir: string): boolean {
  if (!existsSync(dir)) return false;
  const ours = readdirSync(dir).filter((name) => name.endsWith(SUFFIX) || name.endsWith(SUFFIX + TEMPORARY));
  for (const name of ours) rmSync(join(dir, name));
  removeFolderIfEmpty(dir);
  return ours.some((name) => name.endsWith(SUFFIX));
}
