import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { text } from "node:stream/consumers";
import type { FastifyInstance } from "fastify";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type Port, PortError } from "../agent/port.ts";
import type { AgentPorts } from "../agent/ports.ts";
import { parseExposition } from "./exposition.ts";
import { fakeAgent } from "./fakes.ts";
import { createMetrics } from "./metrics.ts";
import { createPortApi, servePortApi } from "./port-api.ts";

const id = "753a65ef-918a-4193-9266-dc23ed8a5982";
const sent = {
  id,
  "instance-id": "63bd1a8a-ba6a-4547-af8d-653dd8ff397e",
  "ip-address": "10.0.1.3",
  "ip6-address": "",
  "vn-id": "38ced7ff-fdfc-4f17-9547-17ff4fb45da9",
  "display-name": "vm1",
  "vm-project-id": "",
  "mac-address": "02:75:3a:65:ef:91",
  "system-name": "tap0",
  type: 0,
  "rx-vlan-id": -1,
  "tx-vlan-id": -1,
  "vhostuser-mode": 0,
};

const measured = { agent: fakeAgent(), metrics: createMetrics() };
let stored: Map<string, Port>;
let syncs: number;
let server: FastifyInstance;
const ports: AgentPorts = {
  port: (id) => stored.get(id),
  put: (added) => {
    for (const port of added) stored.set(port.id, port);
  },
  remove: (id) => void stored.delete(id),
  setLinkState: (id, linkState) => {
    const port = stored.get(id);
    if (port === undefined) throw new PortError(`Port Not found ${id}`);
    stored.set(id, { ...port, "link-state": linkState });
  },
  sync: () => {
    syncs += 1;
  },
};
beforeEach(() => {
  stored = new Map();
  syncs = 0;
  server = createPortApi({ ports, measured });
});
afterEach(() => server.close());

type Method = "GET" | "POST" | "PUT" | "DELETE" | "OPTIONS" | "HEAD";

/** Asks as a client on this host does; the answer's status and body. */
async function ask(method: Method, url: string, body?: unknown, headers: Record<string, string> = {}) {
  const answer = await server.inject({
    method,
    url,
    headers: { host: "localhost:9091", "content-type": "application/json", ...headers },
    ...(body !== undefined && { payload: typeof body === "string" ? body : JSON.stringify(body) }),
  });
  expect(answer.headers["content-type"]).toBe("application/json; charset=UTF-8");
  return [answer.statusCode, answer.body === "" ? undefined : answer.json()];
}

const DONE = [200, {}];

describe("the port API", () => {
  it("adds a port, gives it back, turns it down and up, and removes it", async () => {
    expect(await ask("POST", "/port", sent)).toEqual(DONE);
    expect(await ask("GET", `/port/${id}`)).toEqual([200, stored.get(id)]);
    expect(await ask("PUT", `/disable-port/${id}`)).toEqual(DONE);
    expect(stored.get(id)?.["link-state"]).toBe(0);
    expect(await ask("PUT", `/enable-port/${id}`, "")).toEqual(DONE);
    expect(stored.get(id)?.["link-state"]).toBe(1);
    expect(await ask("DELETE", `/port/${id}`, "")).toEqual(DONE);
    expect(await ask("DELETE", `/port/${id}`)).toEqual(DONE);
    expect(stored.size).toBe(0);
    expect(await ask("POST", "/syncports", "")).toEqual(DONE);
    expect(syncs).toBe(1);
  });

  it("takes a list, and a body of any type", async () => {
    const other = { ...sent, id: id.replace("7", "8") };
    expect(await ask("POST", "/port", [sent, other], { "content-type": "text/plain" })).toEqual(DONE);
    expect(stored.size).toBe(2);
    expect((await ask("POST", "/port", [sent, { ...other, id: 1 }]))[0]).toBe(500);
  });

  it.each([
    ["POST", "/port", "{", 500, "{ Invalid Json string ==> { }"],
    ["POST", "/port", {}, 500, "{ Invalid or missing data for <id> }"],
    ["POST", "/port", { ...sent, "mac-address": "1" }, 500, "{ Invalid MAC, Use xx:xx:xx:xx:xx:xx format }"],
    ["GET", `/port/${id}`, undefined, 404, "{ Not Found }"],
    ["PUT", `/enable-port/${id}`, undefined, 500, `{Port Not found ${id}}`],
    ["PUT", `/disable-port/${id}`, undefined, 500, `{Port Not found ${id}}`],
    ["DELETE", "/port/1", undefined, 404, "Unknown Request"],
    ["GET", "/port", undefined, 404, "Unknown Request"],
    ["POST", `/port/${id}`, undefined, 404, "Unknown Request"],
    ["OPTIONS", "/port", undefined, 404, "Unknown Request"],
    ["POST", "/port", "x".repeat(2 ** 21 + 1), 413, "{ Request body is too large }"],
  ] as const)("%s %s %.30j: %i %s", async (method, url, body, status, error) => {
    expect(await ask(method, url, body)).toEqual([status, { error }]);
    expect(stored.size).toBe(0);
  });

  it.each([
    [{ host: "127.0.0.1:9091" }, 200],
    [{ host: "127.0.0.2" }, 200],
    [{ host: "LOCALHOST" }, 200],
    [{ host: "[::1]:9091" }, 200],
    [{ host: "attacker.example:9091" }, 403],
    [{ host: "localhost.attacker.example" }, 403],
    [{ host: "127.0.0.1.attacker.example" }, 403],
    [{ host: "10.0.0.1:9091" }, 403],
    [{ origin: "http://localhost:9091" }, 403],
    [{ origin: "null" }, 403],
    [{ "sec-fetch-site": "cross-site" }, 403],
  ])("to a request with %j answers %i", async (headers, status) => {
    expect((await ask("POST", "/port", sent, headers))[0]).toBe(status);
    expect(stored.size).toBe(status === 200 ? 1 : 0);
  });

  it("serves metrics beside, under the same rules", async () => {
    const headers = { host: "127.0.0.1:9091" };
    const answer = await server.inject({ url: "/metrics?interfaces=all", headers });
    expect(answer.statusCode).toBe(200);
    expect(parseExposition(answer.body).has("onlink_interface_flows")).toBe(true);
    expect((await server.inject({ url: "/metrics", headers: { host: "example.com" } })).statusCode).toBe(403);
    expect((await server.inject({ url: "/metrics?x=1", headers })).statusCode).toBe(400);
  });

  it("answers however many clients sit idle", async () => {
    const listen = { address: "127.0.0.1", port: 0 };
    const api = await servePortApi({ listen, ports, measured });
    const idle: Socket[] = [];
    try {
      for (let count = 0; count < 80; count++) {
        const socket = connect(api.port, listen.address).on("error", () => {});
        idle.push(socket);
        await once(socket, "connect");
      }
      const socket = connect(api.port, listen.address);
      socket.end("POST /syncports HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
      expect(await text(socket)).toMatch(/^HTTP\/1.1 200 OK/);
    } finally {
      for (const socket of idle) socket.destroy();
      await api.close();
    }
  });

  it("listens where it is told, and says so where it cannot", async () => {
    const listen = { address: "127.0.0.1", port: 0 };
    const api = await servePortApi({ listen, ports, measured });
    try {
      const socket = connect(api.port, listen.address);
      socket.end("POST /syncports HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
      expect(await text(socket)).toMatch(/^HTTP\/1.1 200 OK\r\n.*\r\n\r\n\{\}$/s);
      await expect(servePortApi({ listen: { ...listen, port: api.port }, ports, measured })).rejects.toThrow(
        /cannot serve OpenSDN's port API on 127.0.0.1:\d+: .*EADDRINUSE.*; change api.listen/,
      );
    } finally {
      await api.close();
    }
  });
});
