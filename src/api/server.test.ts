import { mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { AgentStatus } from "../agent/status.ts";
import { fetchStatus, NoAgentError } from "./client.ts";
import { serveApi } from "./server.ts";

const status = {
  version: "0.0.0",
  pid: 1,
  services: [],
  counters: { forwarded: { frames: 3n, bytes: 2n ** 60n } },
} as unknown as AgentStatus;

describe("the API on its socket", () => {
  let folder: string;
  let socket: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "onlink-api-"));
    socket = join(folder, "onlink.sock");
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  it("answers the client, for its owner alone", async () => {
    const api = await serveApi({ socket, status: () => status });
    try {
      expect(statSync(socket).mode & 0o777).toBe(0o600);
      expect(await fetchStatus(socket)).toEqual({
        ...status,
        counters: { forwarded: { frames: 3, bytes: "1152921504606846976" } },
      });
    } finally {
      await api.close();
    }
    await expect(fetchStatus(socket)).rejects.toThrow(NoAgentError);
  });

  it("reports an error of the agent", async () => {
    const api = await serveApi({
      socket,
      status: () => {
        throw new Error("maps are gone");
      },
    });
    try {
      await expect(fetchStatus(socket)).rejects.toThrow(/answered 500: .*maps are gone/);
    } finally {
      await api.close();
    }
  });

  it("replaces a dead socket, not a living one", async () => {
    writeFileSync(socket, "");
    const api = await serveApi({ socket, status: () => status });
    await api.close();

    const other = createServer();
    await new Promise<void>((resolve) => other.listen(socket, resolve));
    try {
      await expect(serveApi({ socket, status: () => status })).rejects.toThrow("in use by another process");
    } finally {
      await new Promise((resolve) => other.close(resolve));
    }
  });
});
