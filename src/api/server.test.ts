import { mkdtempSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { AgentEvent } from "../agent/event.ts";
import { fetchStatus, NoAgentError, streamEvents } from "./client.ts";
import { formatMessage } from "./events.ts";
import { fakeAgent, STATUS } from "./fakes.ts";
import { inJson } from "./json.ts";
import { createMetrics } from "./metrics.ts";
import { checkSocketPath, serveApi } from "./server.ts";

const metrics = createMetrics();

const conflict = (mac: string): AgentEvent => ({
  kind: "conflict",
  time: "2026-01-02T03:04:05.000Z",
  interface: "tap0",
  service: "169.254.169.254",
  mac,
});

describe("where the API is served", () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "onlink-api-"));
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  it("is never in the place of a file", async () => {
    const path = join(folder, "notes");
    writeFileSync(path, "keep me");
    const message = `${path} is there already and is not a socket; remove it, or give api.socket another path`;
    expect(() => checkSocketPath(path, folder)).toThrow(message);
    await expect(serveApi({ socket: path, agent: fakeAgent(), metrics })).rejects.toThrow(message);
    expect(readFileSync(path, "utf8")).toBe("keep me");
  });

  it("is in a directory, which may be the runtime directory that is not there yet", () => {
    const socket = join(folder, "none", "onlink.sock");
    expect(() => checkSocketPath(socket, folder)).toThrow(
      `${join(folder, "none")} is no directory; make it, or change api.socket`,
    );
    expect(() => checkSocketPath(socket, join(folder, "none"))).not.toThrow();
  });
});

describe("the API on its socket", () => {
  let folder: string;
  let socket: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "onlink-api-"));
    socket = join(folder, "onlink.sock");
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  it("answers the client, for its owner alone", async () => {
    const api = await serveApi({ socket, agent: fakeAgent(), metrics });
    try {
      expect(statSync(socket).mode & 0o777).toBe(0o600);
      const status = await fetchStatus(socket);
      expect(status).toEqual(inJson(STATUS));
      expect(status.counters.forwarded).toEqual({ frames: 7, bytes: "1152921504606846976" });
    } finally {
      await api.close();
    }
    await expect(fetchStatus(socket)).rejects.toThrow(NoAgentError);
  });

  it("reports an error of the agent", async () => {
    const agent = fakeAgent({
      status: () => {
        throw new Error("maps are gone");
      },
    });
    const api = await serveApi({ socket, agent, metrics });
    try {
      await expect(fetchStatus(socket)).rejects.toThrow(/answered 500: .*maps are gone/);
    } finally {
      await api.close();
    }
  });

  it("replaces a dead socket, not a living one", async () => {
    // Node.js removes the socket of a server that closes, by the path where it was made.
    const dead = createServer();
    await new Promise<void>((resolve) => dead.listen(`${socket}.dead`, resolve));
    renameSync(`${socket}.dead`, socket);
    await new Promise((resolve) => dead.close(resolve));
    expect(statSync(socket).isSocket()).toBe(true);
    const api = await serveApi({ socket, agent: fakeAgent(), metrics });
    await api.close();

    const other = createServer();
    await new Promise<void>((resolve) => other.listen(socket, resolve));
    try {
      await expect(serveApi({ socket, agent: fakeAgent(), metrics })).rejects.toThrow(
        "in use by another process",
      );
    } finally {
      await new Promise((resolve) => other.close(resolve));
    }
  });

  it("gives the recent events and ends, or goes on with those to come", async () => {
    const recent = [conflict("02:00:00:00:00:01"), { kind: "lost", time: "", lost: 2n ** 60n } as const];
    const agent = fakeAgent({ recent });
    const api = await serveApi({ socket, agent, metrics });
    try {
      const bodies = recent.map((event) => inJson(event));
      expect(await all(streamEvents(socket, { follow: false, flows: false }))).toEqual(bodies);

      const subscribed = agent.change();
      const stream = streamEvents(socket, { follow: true, flows: true });
      for (const body of bodies) expect((await stream.next()).value).toEqual(body);
      await subscribed;
      expect([...agent.listeners.values()]).toEqual([{ flows: true }]);
      agent.emit(conflict("02:00:00:00:00:02"));
      expect((await stream.next()).value).toEqual(conflict("02:00:00:00:00:02"));

      const unsubscribed = agent.change();
      await stream.return(undefined);
      await unsubscribed;
      expect(agent.listeners.size).toBe(0);
    } finally {
      await api.close();
    }
  });

  it("cuts off a client that does not read, and says so to it", async () => {
    const agent = fakeAgent();
    const api = await serveApi({ socket, agent, metrics });
    try {
      const subscribed = agent.change();
      const ended = expect(all(streamEvents(socket, { follow: true, flows: false }))).rejects.toThrow(
        /ended the stream: .*faster than they were read/,
      );
      await subscribed;
      expect([...agent.listeners.values()]).toEqual([{ flows: false }]);
      let sent = 0;
      for (; agent.listeners.size > 0 && sent < 100_000; sent++) agent.emit(conflict("02:00:00:00:00:02"));
      expect(agent.listeners.size).toBe(0);
      expect(sent * formatMessage(conflict("02:00:00:00:00:02")).length).toBeLessThan(2 ** 21);
      await ended;
    } finally {
      await api.close();
    }
  });

  it("ends streams when it is closed", async () => {
    const agent = fakeAgent();
    const api = await serveApi({ socket, agent, metrics });
    const subscribed = agent.change();
    const first = streamEvents(socket, { follow: true, flows: false }).next();
    await subscribed;
    const ended = expect(first).rejects.toThrow("ended the stream: it stopped");
    await api.close();
    await ended;
  });
});

async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const list: T[] = [];
  for await (const item of items) list.push(item);
  return list;
}
