/** Exchanges with a real upstream, and a guest that does what a test wants. */
import { once } from "node:events";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { afterEach, expect, test } from "vitest";
import { createDeadlines } from "./deadlines.ts";
import { createMessageParser } from "./http-parser.ts";
import { type RequestHead, readRequestHead } from "./http-request.ts";
import { readResponseHead } from "./http-response.ts";
import { type HttpError, httpError } from "./http-syntax.ts";
import { type ExchangeOptions, type GuestSide, type Reroute, startExchange } from "./proxy.ts";
import { createUpstream, type Upstream, type Waiter } from "./upstream.ts";
import type { UpstreamConnection } from "./upstream-connection.ts";

const cleanUp: Array<() => void> = [];
afterEach(() => {
  for (const step of cleanUp.splice(0).reverse()) step();
});

/** An upstream that does with each connection what it is told. */
async function upstreamThat(serve: (socket: Socket) => void): Promise<Upstream> {
  const server = createServer((socket) => {
    cleanUp.push(() => socket.destroy());
    socket.on("error", () => {});
    serve(socket);
  }).listen(0, "127.0.0.1");
  cleanUp.push(() => void server.close());
  await once(server, "listening");
  const deadlines = createDeadlines();
  cleanUp.push(() => deadlines.close());
  return createUpstream({
    address: { host: "127.0.0.1", port: (server.address() as AddressInfo).port, tls: undefined },
    connectTimeout: 1000,
    maxConnections: 1,
    deadlines,
    onChange: () => {},
  });
}

interface Outcome {
  error: HttpError | undefined;
  interims: number;
}

const optionsOf = (upstream: Upstream, identity = ""): ExchangeOptions => ({
  upstreams: [upstream],
  identity,
  timeouts: TIMEOUTS,
  borrower: { inFlight: 1 },
});
const TIMEOUTS = { firstByte: 2000, idle: 2000 };
const noReroute: Reroute = () => httpError("no other settings");

/** Starts an exchange; `takesData` is what the guest says to each piece of the answer. */
function ask(upstream: Upstream, takesData = true, reroute = noReroute): Promise<Outcome> {
  const head = readRequestHead("GET / HTTP/1.1\r\nHost: x\r\n\r\n") as RequestHead;
  return new Promise((resolve) => {
    let interims = 0;
    const guest: GuestSide = {
      takeBody() {},
      takeMore() {},
      interim: () => void interims++,
      respond() {},
      data: () => takesData,
      end: () => resolve({ error: undefined, interims }),
      fail: (error) => resolve({ error, interims }),
    };
    const exchange = startExchange(head, guest, optionsOf(upstream), reroute);
    exchange.bodyEnd();
  });
}

test("an answer that a slow guest held up leaves a connection that serves the next one", async () => {
  const upstream = await upstreamThat((socket) => {
    socket.on("data", () => socket.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab"));
  });
  expect(await ask(upstream, false)).toMatchObject({ error: undefined });
  expect(upstream.status().connections).toEqual({ busy: 0, idle: 1 });
  expect(await ask(upstream)).toMatchObject({ error: undefined });
});

test("a request whose connection is being made when the settings change goes the new way, and nothing of it the old one", async () => {
  const seen: string[] = [];
  const serve = (name: string) => (socket: Socket) =>
    socket.on("data", (bytes) => {
      seen.push(`${name} ${/X-By: .*/.exec(bytes.toString())}`);
      socket.write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    });
  const [before, after] = [await upstreamThat(serve("before")), await upstreamThat(serve("after"))];
  const outcome = ask(before, true, () => optionsOf(after, "X-By: new\r\n"));
  before.close();
  expect(await outcome).toMatchObject({ error: undefined });
  expect(seen).toEqual(["after X-By: new"]);
  expect(before.status().connections).toEqual({ busy: 0, idle: 0 });
});

test("an upstream that goes on and on with interim responses is given up", async () => {
  const upstream = await upstreamThat((socket) => {
    const more = () => {
      while (!socket.destroyed && socket.write("HTTP/1.1 103 Early Hints\r\n\r\n"));
    };
    socket.once("data", more).on("drain", more);
  });
  const { error, interims } = await ask(upstream);
  expect(error?.status).toBe(502);
  expect(interims).toBeLessThan(100);
});

/** An exchange over a connection that only notes what is done to it. */
function exchangeOver(text: string) {
  const written: string[] = [];
  const times: number[] = [];
  const connection = {
    answers: createMessageParser({
      readHead: readResponseHead,
      maxHead: 1000,
      tooLong: () => httpError("too long"),
    }),
    slowSince: Number.POSITIVE_INFINITY,
    write: (data: string) => written.push(data) > 0,
    setTimeout: (ms: number) => void times.push(ms),
    pause() {},
    resume() {},
  } as unknown as UpstreamConnection;
  const upstream = {
    name: "x",
    acquire(waiter: Waiter) {
      waiter.connected(connection);
      return () => {};
    },
  } as unknown as Upstream;
  const guest = { takeBody() {}, respond() {}, data: () => false } as unknown as GuestSide;
  const head = readRequestHead(text) as RequestHead;
  return {
    exchange: startExchange(head, guest, optionsOf(upstream), noReroute),
    connection,
    written,
    times,
  };
}

test("a body in chunks of one byte is not written byte by byte", () => {
  const { exchange, written } = exchangeOver(
    "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n",
  );
  for (let i = 0; i < 1000; i++) exchange.body(Buffer.from("a"));
  exchange.flush();
  exchange.bodyEnd();
  expect(written.slice(1).join("")).toBe(`${"1\r\na\r\n".repeat(1000)}0\r\n\r\n`);
  expect(written).toHaveLength(3);
});

test("that a guest takes more counts only for an answer that waited for it, not for one to an earlier request", () => {
  const { exchange, connection, times } = exchangeOver(
    "PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n",
  );
  // It waits for the request's body, which is the guest's turn: what it took of another answer is no excuse.
  const since = connection.slowSince;
  expect(since).toBeLessThan(Number.POSITIVE_INFINITY);
  exchange.resume();
  expect(connection.slowSince).toBe(since);
  expect(times).toEqual([]);

  exchange.bodyEnd();
  const begun = Buffer.from("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\na");
  connection.user!.data(begun, 0, begun.length);
  expect(connection.slowSince).toBeLessThan(Number.POSITIVE_INFINITY);
  expect(times.at(-1)).toBe(Number.POSITIVE_INFINITY);
  exchange.resume();
  expect(connection.slowSince).toBe(Number.POSITIVE_INFINITY);
  expect(times.at(-1)).toBe(TIMEOUTS.idle);
});
