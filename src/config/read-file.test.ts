import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { loadConfig } from "./load.ts";
import { readRegularFile } from "./read-file.ts";

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "onlink-read-"));
});
afterEach(() => rmSync(dir, { recursive: true }));

it("reads a file, by a link too, and passes on why it cannot", () => {
  writeFileSync(join(dir, "file"), "text");
  symlinkSync("file", join(dir, "link"));
  expect(readRegularFile(join(dir, "link"))).toBe("text");
  expect(() => readRegularFile(join(dir, "none"))).toThrow("ENOENT");
});

it("refuses what is no file, and waits for nobody", async () => {
  const pipe = join(dir, "pipe");
  execFileSync("mkfifo", [pipe]);
  expect(() => readRegularFile(pipe)).toThrow(`${pipe} is a pipe, expected a regular file`);
  expect(() => readRegularFile(dir)).toThrow(`${dir} is a directory, expected a regular file`);
  expect(() => readRegularFile("/dev/zero")).toThrow("/dev/zero is a device, expected a regular file");
  const socket = join(dir, "socket");
  const server = createServer().listen(socket);
  await new Promise((resolve) => server.once("listening", resolve));
  expect(() => readRegularFile(socket)).toThrow(`${socket} is a socket, expected a regular file`);
  server.close();
});

it("a configuration that is a pipe is refused as any wrong one", () => {
  const pipe = join(dir, "onlink.yaml");
  execFileSync("mkfifo", [pipe]);
  const message = `cannot be read: ${pipe} is a pipe, expected a regular file`;
  expect(loadConfig(pipe)).toEqual({ ok: false, errors: [expect.objectContaining({ message })] });
});
