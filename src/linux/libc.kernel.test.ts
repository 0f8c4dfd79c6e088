import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, mkdtempSync, openSync, rmdirSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { isBpffs, isFileAt, lockFile, mountBpffs, SystemError, unmount } from "./libc.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "onlink-libc-"));
});
afterEach(() => {
  rmSync(folder, { recursive: true });
});

describe("lockFile", () => {
  it("gives the lock to one at a time", () => {
    const path = join(folder, "lock");
    const first = lockFile(path);
    expect(first).toBeDefined();
    expect(lockFile(path)).toBeUndefined();
    first!.release();
    first!.release();
    const second = lockFile(path);
    expect(second).toBeDefined();
    second!.release();
  });

  it("sees the lock of another process, which ends with it", async () => {
    const path = join(folder, "lock");
    // "exec", so that the process that holds the lock is the one that is killed.
    const holder = spawn("flock", ["-n", path, "-c", "echo held; exec cat"]);
    await once(holder.stdout, "data");
    expect(lockFile(path)).toBeUndefined();
    holder.stdin.end();
    await once(holder, "close");
    const lock = lockFile(path);
    expect(lock).toBeDefined();
    expect(() => execFileSync("flock", ["-n", path, "true"])).toThrow();
    lock!.release();
  });

  it("knows a file that was removed since it was opened", () => {
    const path = join(folder, "lock");
    const first = lockFile(path)!;
    const opened = openSync(path, "r");
    expect(isFileAt(opened, path)).toBe(true);
    rmSync(path);
    expect(isFileAt(opened, path)).toBe(false);
    // What holds the removed file holds nobody off.
    const second = lockFile(path)!;
    expect(isFileAt(opened, path)).toBe(false);
    expect(lockFile(path)).toBeUndefined();
    closeSync(opened);
    first.release();
    second.release();
  });

  it("says what cannot be opened", () => {
    expect(() => lockFile(join(folder, "nowhere", "lock"))).toThrow("ENOENT");
  });
});

describe("mountBpffs", () => {
  it("mounts a BPF file system with the mode given", () => {
    const path = mkdtempSync(join(folder, "bpf-"));
    expect(isBpffs(path)).toBe(false);
    mountBpffs(path, 0o750);
    try {
      expect(isBpffs(path)).toBe(true);
      // The kernel adds the sticky bit.
      expect(statSync(path).mode & 0o777).toBe(0o750);
    } finally {
      unmount(path);
    }
    expect(isBpffs(path)).toBe(false);
    rmdirSync(path);
    expect(isBpffs(path)).toBe(false);
  });

  it("says what went wrong, by name", () => {
    const path = join(folder, "nowhere");
    let caught: unknown;
    try {
      mountBpffs(path, 0o700);
    } catch (error) {
      caught = error;
    }
    expect(caught).toBeInstanceOf(SystemError);
    expect(caught).toMatchObject({ syscall: "mount", code: "ENOENT" });
    expect((caught as Error).message).toContain(path);
    expect(() => unmount(folder)).toThrow(`cannot unmount ${folder} (umount2: EINVAL)`);
  });
});
