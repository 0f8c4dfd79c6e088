import { createHash } from "node:crypto";
import { existsSync, readFileSync, statSync } from "node:fs";
import { expect } from "vitest";
import type { Guest, Lab } from "../../src/lab/lab.ts";
import { hashOfBytes } from "./commands.ts";

/** A download that goes on until it is stopped. */
export interface Download {
  /** Bytes so far. */
  size(): number;
  /** Ends it; what came must be what was sent. */
  finish(): Promise<void>;
}

/** Starts a download from the lab's HTTP server at `url`, by one connection, into a file of the lab. */
export async function startDownload(lab: Lab, guest: Guest, url: string): Promise<Download> {
  const name = `/run/${new URL(url).hostname}`;
  const endless = `${url}/bytes/1000000000000`;
  const curl = await guest.start(["curl", "-sS", "--limit-rate", "5M", "-o", name, endless]);
  const file = lab.root + name;
  const size = () => (existsSync(file) ? statSync(file).size : 0);
  return {
    size,
    async finish() {
      expect((await curl.stop()).signal, `curl: ${curl.stderr()}`).toBe("SIGTERM");
      expect(createHash("sha256").update(readFileSync(file)).digest("hex")).toBe(hashOfBytes(size()));
    },
  };
}
