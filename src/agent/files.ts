import {
  closeSync,
  existsSync,
  fsyncSync,
  lstatSync,
  openSync,
  renameSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { dirname } from "node:path";
import { readRegularFile } from "../config/read-file.ts";

/** What the name of a file has behind it until it is whole. */
export const TEMPORARY = ".new";

/** Writes a file whole or not at all (temporary file, fsync, rename), readable by the owner alone. */
export function writeFileAtomically(path: string, text: string): void {
  const temporary = path + TEMPORARY;
  try {
    const file = openSync(temporary, "w", 0o600);
    try {
      writeFileSync(file, text);
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
    renameSync(temporary, path);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw error;
  }
  syncFolder(dirname(path));
}

/** Removes a file of `writeFileAtomically`, and what is left of a write that was cut short; says whether the file was there. */
export function removeFile(path: string): boolean {
  const wasThere = existsSync(path);
  for (const name of [path, path + TEMPORARY]) rmSync(name, { force: true });
  return wasThere;
}

/** Makes what was renamed or removed in a folder last over a power failure. */
export function syncFolder(path: string): void {
  const folder = openSync(path, "r");
  try {
    fsyncSync(folder);
  } finally {
    closeSync(folder);
  }
}

/** The text of a file; undefined when there is none. */
export function readFileIfThere(path: string): string | undefined {
  try {
    return readRegularFile(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}

/** Whether there is a socket at a path. */
export function isSocket(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false })?.isSocket() ?? false;
}

/** Removes a folder that is empty; says whether it did. One that is missing or holds something is left alone. */
export function removeFolderIfEmpty(path: string): boolean {
  try {
    rmdirSync(path);
    return true;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "ENOTEMPTY" || code === "EBUSY") return false;
    throw error;
  }
}
