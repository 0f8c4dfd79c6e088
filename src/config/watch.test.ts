import {
  mkdirSync,
  mkdtempSync,
  realpathSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { lookupsOf, watchFile } from "./watch.ts";

let dir: string;
const closing: Array<{ close(): void }> = [];
beforeEach(() => {
  dir = realpathSync(mkdtempSync(join(tmpdir(), "onlink-watch-")));
});
afterEach(() => {
  for (const one of closing.splice(0)) one.close();
  rmSync(dir, { recursive: true });
});

/** Watches; `next` resolves at the next call. */
function startWatch(path: string) {
  let calls = 0;
  let waiting: (() => void) | undefined;
  closing.push(
    watchFile(path, {
      onChange() {
        calls += 1;
        waiting?.();
      },
      onFailure(error) {
        throw error;
      },
    }),
  );
  return {
    calls: () => calls,
    next: () =>
      new Promise<void>((resolve) => {
        waiting = resolve;
      }),
  };
}

describe("watchFile", () => {
  it("sees a file written in place, in several steps, as one change", async () => {
    const file = join(dir, "onlink.yaml");
    writeFileSync(file, "a");
    const watched = startWatch(file);
    const next = watched.next();
    for (const text of ["", "b", "bc"]) writeFileSync(file, text);
    await next;
    expect(watched.calls()).toBe(1);
  });

  it("sees a file renamed into place, again and again, and one that goes and comes back", async () => {
    const file = join(dir, "onlink.yaml");
    writeFileSync(file, "a");
    const watched = startWatch(file);
    for (const step of [
      () => renameSync(join(dir, "new"), file),
      () => renameSync(join(dir, "new"), file),
      () => rmSync(file),
      () => writeFileSync(file, "b"),
    ]) {
      writeFileSync(join(dir, "new"), "b");
      const next = watched.next();
      step();
      await next;
    }
  });

  it("sees the links of a Kubernetes ConfigMap swapped, and what is behind them then", async () => {
    const file = join(dir, "onlink.yaml");
    for (const version of ["..1", "..2"]) {
      mkdirSync(join(dir, version));
      writeFileSync(join(dir, version, "onlink.yaml"), version);
    }
    symlinkSync("..1", join(dir, "..data"));
    symlinkSync("..data/onlink.yaml", file);
    const watched = startWatch(file);
    let next = watched.next();
    symlinkSync("..2", join(dir, "..data_tmp"));
    renameSync(join(dir, "..data_tmp"), join(dir, "..data"));
    await next;
    next = watched.next();
    writeFileSync(join(dir, "..2", "onlink.yaml"), "3");
    await next;
  });

  it("sees the folder replaced, and takes no notice of other files", async () => {
    const folder = join(dir, "etc");
    mkdirSync(folder);
    writeFileSync(join(folder, "onlink.yaml"), "a");
    const watched = startWatch(join(folder, "onlink.yaml"));
    const next = watched.next();
    writeFileSync(join(folder, "other.yaml"), "a");
    writeFileSync(join(dir, "other"), "a");
    renameSync(folder, join(dir, "former"));
    mkdirSync(folder);
    await next;
    const again = watched.next();
    writeFileSync(join(folder, "onlink.yaml"), "b");
    await again;
    expect(watched.calls()).toBe(2);
  });
});

describe("lookupsOf", () => {
  const below = (path: string) =>
    lookupsOf(path)
      .map(({ folder, name }) => join(folder, name))
      .filter((one) => one.startsWith(dir) && one !== dir)
      .map((one) => one.slice(dir.length + 1));

  it("follows links, up and absolute ones too", () => {
    mkdirSync(join(dir, "real"));
    mkdirSync(join(dir, "a"));
    writeFileSync(join(dir, "real", "file"), "");
    symlinkSync("../real/file", join(dir, "a", "up"));
    symlinkSync(join(dir, "real"), join(dir, "b"));
    expect(below(join(dir, "a", "up"))).toEqual(["a", "a/up", "real", "real/file"]);
    expect(below(join(dir, "b", "file"))).toEqual(["b", "real", "real/file"]);
  });

  it("ends at what is not there, and in a loop", () => {
    expect(below(join(dir, "no", "such"))).toEqual(["no"]);
    writeFileSync(join(dir, "file"), "");
    expect(below(join(dir, "file", "such"))).toEqual(["file", "file/such"]);
    symlinkSync("loop", join(dir, "loop"));
    expect(below(join(dir, "loop")).length).toBeLessThan(50);
  });
});
