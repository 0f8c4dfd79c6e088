import { closeSync, constants, fstatSync, openSync, readFileSync, type Stats, statSync } from "node:fs";

/**
 * The text of a file. Throws what the file system says, and for all that is no regular file: a named pipe would hold the process up until somebody
 * writes to it, a device may do anything when it is opened.
 */
export function readRegularFile(path: string): string {
  const stats = statSync(path, { throwIfNoEntry: false });
  if (stats !== undefined) checkIsFile(path, stats);
  // It may have been replaced meanwhile: a pipe must not hold up the opening either.
  const file = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    checkIsFile(path, fstatSync(file));
    return readFileSync(file, "utf8");
  } finally {
    closeSync(file);
  }
}

function checkIsFile(path: string, stats: Stats): void {
  if (!stats.isFile()) throw new Error(`${path} is ${kindOf(stats)}, expected a regular file`);
}

function kindOf(stats: Stats): string {
  if (stats.isDirectory()) return "a directory";
  if (stats.isFIFO()) return "a pipe";
  return stats.isSocket() ? "a socket" : "a device";
}
