import { createServer as createHttpServer, type RequestListener } from "node:http";
import { type AddressInfo, createServer, type Server } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import type { HealthCheck } from "../config/schema.ts";
import { checkBackend } from "./checks.ts";

const servers: Server[] = [];
afterEach(() => {
  for (const server of servers.splice(0)) server.close();
});

/** Listens on a free port of 127.0.0.1. */
async function listen(server: Server): Promise<number> {
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return (server.address() as AddressInfo).port;
}

const check = (port: number, changes: Partial<HealthCheck> = {}, signal = new AbortController().signal) =>
  checkBackend(
    { address: "127.0.0.1", port },
    { type: "tcp", interval: 1000, timeout: 5000, unhealthyAfter: 1, healthyAfter: 1, ...changes },
    signal,
  );

describe("checkBackend over TCP", () => {
  it("is good when the connection opens, on the check's own port where it has one", async () => {
    const port = await listen(createServer((socket) => socket.on("error", () => {})));
    expect(await check(port)).toBeUndefined();
    expect(await check(1, { port })).toBeUndefined();
  });

  it("says why it failed", async () => {
    const server = createServer();
    const port = await listen(server);
    await new Promise((resolve) => server.close(resolve));
    expect(await check(port)).toBe("connection refused");
  });
});

describe("checkBackend over HTTP", () => {
  const serve = (listener: RequestListener) => listen(createHttpServer(listener));

  it.each([
    [200, undefined],
    [204, undefined],
    [302, undefined],
    [404, "HTTP status 404"],
    [503, "HTTP status 503"],
  ])("status %i gives %s", async (status, result) => {
    const port = await serve((_, response) => response.writeHead(status, { location: "/" }).end("body"));
    expect(await check(port, { type: "http" })).toBe(result);
  });

  it("asks for the path, of the name where there is one", async () => {
    const asked: unknown[] = [];
    const port = await serve(({ method, url, headers }, response) => {
      asked.push([method, url, headers.host]);
      response.end();
    });
    await check(port, { type: "http" });
    const name = { name: "ns1.example", address: "127.0.0.1", port };
    const http: HealthCheck = {
      ...{ type: "http", path: "/health?x=1", interval: 1000, timeout: 5000 },
      ...{ unhealthyAfter: 1, healthyAfter: 1 },
    };
    expect(await checkBackend(name, http, new AbortController().signal)).toBeUndefined();
    expect(asked).toEqual([
      ["GET", "/", `127.0.0.1:${port}`],
      ["GET", "/health?x=1", `ns1.example:${port}`],
    ]);
  });

  it("does not wait for the end of a body", async () => {
    const port = await serve((_, response) => response.write("for ever and ever"));
    expect(await check(port, { type: "http" })).toBeUndefined();
  });

  it("fails where something else than HTTP answers, or nothing in time", async () => {
    const babble = await listen(createServer((socket) => socket.on("error", () => {}).end("SSH-2.0-x\r\n")));
    expect(await check(babble, { type: "http" })).toMatch(/Parse Error/);
    const hangUp = await listen(createServer((socket) => socket.on("error", () => {}).resetAndDestroy()));
    expect(await check(hangUp, { type: "http" })).toMatch(/connection reset|hang up/);
    const silent = await listen(createServer((socket) => socket.on("error", () => {})));
    expect(await check(silent, { type: "http", timeout: 100 })).toBe("no answer in 100ms");
  });

  it("ends early when it is told to", async () => {
    const silent = await listen(createServer((socket) => socket.on("error", () => {})));
    const abort = new AbortController();
    const result = check(silent, { type: "http", timeout: 60_000 }, abort.signal);
    abort.abort();
    expect(await result).toBeTypeOf("string");
  });
});
