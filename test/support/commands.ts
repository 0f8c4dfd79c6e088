/** What guests do in the tests, with the tools that people use. */
import { createHash } from "node:crypto";
import { expect } from "vitest";
import type { RequestSeen } from "../../src/lab/http-server.ts";
import type { Namespace } from "../../src/lab/lab.ts";
import type { RunOptions } from "../../src/lab/process.ts";

/** Runs a command that must succeed; returns what it wrote to standard output. */
export async function output(
  where: Namespace,
  argv: readonly string[],
  options?: RunOptions,
): Promise<string> {
  const { code, signal, stdout, stderr } = await where.run(argv, options);
  expect({ code, signal }, `${argv.join(" ")}\n${stdout}${stderr}`).toEqual({ code: 0, signal: null });
  return stdout;
}

/** A shell command line that must succeed, each part of its pipes included; returns what it wrote. */
export function shell(where: Namespace, line: string, options?: RunOptions): Promise<string> {
  return output(where, ["/bin/bash", "-euo", "pipefail", "-c", line], options);
}

/** curl that says why it failed, and does not wait for ever. */
export const CURL = ["curl", "--silent", "--show-error", "--fail", "--max-time", "20"];

/** Asks the lab's HTTP server, which answers what it saw of the request. */
export async function requestFrom(guest: Namespace, url: string, ...options: string[]): Promise<RequestSeen> {
  return JSON.parse(await output(guest, [...CURL, ...options, url]));
}

/** SHA-256 of what the lab's HTTP server sends for `/bytes/COUNT`: blocks of 1 MiB, each filled anew. */
export function hashOfBytes(count: number): string {
  const block = Buffer.alloc(1 << 20, "onlink\n");
  const hash = createHash("sha256");
  for (let left = count; left > 0; left -= block.length)
    hash.update(block.subarray(0, Math.min(left, block.length)));
  return hash.digest("hex");
}

/** Downloads in the guest; returns the SHA-256 of what came. */
export async function hashOfDownload(guest: Namespace, url: string): Promise<string> {
  return hashIn(await shell(guest, `${CURL.join(" ")} ${url} | sha256sum`));
}

/**
 * Makes `count` random bytes in the guest, sends them to the lab's `/echo`, and returns the SHA-256 of what was sent
 * and of what came back. More options of curl may be given.
 */
export async function hashesOfEcho(
  guest: Namespace,
  url: string,
  count: number,
  ...options: string[]
): Promise<{ sent: string; returned: string }> {
  const curl = [...CURL, ...options, "--data-binary", "@$file", url].join(" ");
  const lines = await shell(
    guest,
    `file=$(mktemp -p /run); head -c ${count} /dev/urandom >$file; sha256sum <$file; ${curl} | sha256sum; rm $file`,
  );
  const [sent, returned] = lines.trim().split("\n").map(hashIn);
  return { sent: sent!, returned: returned! };
}

function hashIn(line: string): string {
  return line.split(" ")[0]!;
}

/** Asks for a name over UDP, once; returns what dig calls the short answer. */
export async function dig(guest: Namespace, server: string, ...query: string[]): Promise<string> {
  return (await output(guest, ["dig", `@${server}`, "+short", "+time=5", "+tries=1", ...query])).trim();
}

/** Sends one echo request and waits for the reply. */
export async function ping(from: Namespace, address: string): Promise<void> {
  await output(from, ["ping", "-c1", "-W5", address]);
}

/** Asks by ARP from a guest's eth0, once; returns the MAC that answered, in lower case, or undefined. */
export async function arping(guest: Namespace, address: string): Promise<string | undefined> {
  const { stdout } = await guest.run(["arping", "-c1", "-w2", "-I", "eth0", address]);
  return /\[([\dA-F:]+)\]/.exec(stdout)?.[1]?.toLowerCase();
}
