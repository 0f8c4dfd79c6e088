import { renameSync, rmSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { pinObject, tryPinObject } from "./libbpf.ts";

/** Begins the name of a pin that is to take another's place. bpffs wants names without dots. */
const UNFINISHED = "new-";

/** Pins a descriptor in the place of whatever is pinned there: at each moment one of the two is, even if the process is killed. */
export function replacePin(fd: number, path: string): void {
  const unfinished = join(dirname(path), `${UNFINISHED}${basename(path)}`);
  // What a process that was killed has left.
  if (!tryPinObject(fd, unfinished)) {
    rmSync(unfinished, { force: true });
    pinObject(fd, unfinished);
  }
  renameSync(unfinished, path);
}
