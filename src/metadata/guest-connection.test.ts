/** A guest's connection by itself: what it does in one turn of the event loop. */
import { afterEach, expect, test } from "vitest";
import type { TcpConnection } from "../linux/tcp.ts";
import { createDeadlines } from "./deadlines.ts";
import { type ConnectionOptions, serveGuest } from "./guest-connection.ts";
import type { RequestHead } from "./http-request.ts";
import type { Exchange } from "./proxy.ts";

const deadlines = createDeadlines();
afterEach(() => deadlines.close());

/** A connection that takes all that is written, unless told to `block`, and what it hears; `handle` gives the answers. */
function connectionOf(handle: ConnectionOptions["handle"]) {
  let written = "";
  let isClosed = false;
  let isBlocked = false;
  const connection: TcpConnection = {
    write(data) {
      written += typeof data === "string" ? data : Buffer.from(data).toString("latin1");
      return !isBlocked;
    },
    isBlocked: () => isBlocked,
    setReading() {},
    end() {},
    destroy: () => events.closed(undefined),
    abort: () => events.closed(undefined),
  };
  const events = serveGuest(connection, {
    deadlines,
    timeouts: { head: 10_000, idle: 10_000, stalled: 10_000 },
    maxBody: () => 1_000_000,
    handle,
    answered() {},
    refused() {},
    closed() {
      isClosed = true;
    },
  });
  /** As a connection tells of bytes: in memory that is used again. */
  const receive = (bytes: Buffer) => {
    const memory = Buffer.from(bytes);
    events.data(memory, 0, memory.length);
    memory.fill(0);
  };
  return {
    receive,
    end: events.ended,
    block() {
      isBlocked = true;
    },
    drain() {
      isBlocked = false;
      events.drained();
    },
    connection,
    written: () => written,
    isClosed: () => isClosed,
  };
}

/** Answers with the path, and keeps count. */
function pathAnswers() {
  const paths: string[] = [];
  const handle = ({ path }: RequestHead) => {
    paths.push(path);
    return { status: 200, headers: [], body: `${path};` };
  };
  return { paths, handle };
}

const requests = (count: number) =>
  Buffer.from(Array.from({ length: count }, (_, i) => `GET /${i} HTTP/1.1\r\nHost: x\r\n\r\n`).join(""));
const turn = () => new Promise((resolve) => setImmediate(resolve));

test("of many requests that come at once, a few are answered at once and all in the end, in order", async () => {
  const { paths, handle } = pathAnswers();
  const { receive, written } = connectionOf(handle);
  receive(requests(1000));
  expect(paths).toHaveLength(16);
  // What comes meanwhile does not begin another turn.
  receive(requests(1));
  expect(paths).toHaveLength(16);
  await turn();
  expect(paths).toHaveLength(32);
  while (paths.length < 1001) await turn();
  const expected = [...Array.from({ length: 1000 }, (_, i) => `/${i}`), "/0"];
  expect(paths).toEqual(expected);
  expect([...written().matchAll(/\r\n\r\n(\/\d+);/g)].map(([, path]) => path)).toEqual(expected);
});

test("what had come when the guest ended its side is served, and then the connection is closed", async () => {
  const { paths, handle } = pathAnswers();
  const { receive, end, isClosed } = connectionOf(handle);
  receive(requests(100));
  end();
  expect(paths).toHaveLength(16);
  while (!isClosed()) await turn();
  expect(paths).toHaveLength(100);
});

test("what had come when the guest ended its side is served too where the guest takes the answers slowly", async () => {
  const { paths, handle } = pathAnswers();
  const { receive, end, block, drain, isClosed } = connectionOf((head) => {
    if (head.path === "/20") block();
    return handle(head);
  });
  receive(requests(30));
  end();
  await turn();
  expect(paths).toHaveLength(21);
  expect(isClosed()).toBe(false);
  drain();
  expect(paths).toHaveLength(30);
  expect(isClosed()).toBe(true);
});

test("after a connection is gone, or a request that closes it, none of what waited is served", async () => {
  const gone = pathAnswers();
  const { receive, connection } = connectionOf(gone.handle);
  receive(requests(100));
  connection.abort();
  await turn();
  await turn();
  expect(gone.paths).toHaveLength(16);

  const closing = pathAnswers();
  const other = connectionOf(closing.handle);
  other.receive(Buffer.concat([requests(20), Buffer.from("GET /last HTTP/1.0\r\n\r\n"), requests(100)]));
  for (let turns = 0; turns < 10; turns++) await turn();
  expect(closing.paths).toHaveLength(21);
  expect(closing.paths.at(-1)).toBe("/last");
});

test("of a body in the smallest pieces, some are passed on at once and all in the end", async () => {
  let pieces = 0;
  let isComplete = false;
  const exchange: Exchange = {
    body: () => {
      pieces += 1;
      return true;
    },
    flush: () => true,
    bodyEnd() {
      isComplete = true;
    },
    resume() {},
    abort() {},
  };
  const { receive } = connectionOf((_, side) => {
    side.takeBody();
    return exchange;
  });
  receive(Buffer.from("PUT / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"));
  await turn();
  receive(Buffer.from(`${"1\r\na\r\n".repeat(10_000)}0\r\n\r\n`));
  expect(pieces).toBeGreaterThan(0);
  expect(pieces).toBeLessThanOrEqual(256);
  while (!isComplete) await turn();
  expect(pieces).toBe(10_000);
});
