/** Guests that are slow on purpose, and what others notice of them: the service on the loopback. */
import { once } from "node:events";
import { expect, test } from "vitest";
import {
  bodyOf,
  CLOSE,
  cleanUp,
  echo,
  exchange,
  GET,
  guestSocket,
  httpUpstream,
  LIMITS,
  start,
  statusOf,
} from "./testing.ts";

const SLOW = ["127.0.0.2", "127.0.0.3", "127.0.0.4"];
const QUICK = "127.0.0.8";
/** More bytes than all buffers on the way hold. */
const LARGE = 30_000_000;

/** Has a guest send a body byte by byte, and again as soon as it was refused. Returns the statuses it got. */
function dripOn(port: number, from: string): number[] {
  const statuses: number[] = [];
  let over = false;
  async function go(): Promise<void> {
    while (!over) {
      const guest = guestSocket(port, from);
      guest.send("PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n");
      const timer = setInterval(() => guest.send("x"), 20);
      const answer = await guest.closed();
      clearInterval(timer);
      if (answer !== "") statuses.push(statusOf(answer));
    }
  }
  cleanUp.push(() => {
    over = true;
  });
  void go();
  return statuses;
}

test("guests that drip bodies into all connections to an upstream do not keep the next one from it", async () => {
  const { address } = await httpUpstream(echo);
  const { port, service } = await start({
    proxy: { upstreams: [address], connections: 4, timeouts: { connect: 3000, firstByte: 9000, idle: 9000 } },
  });
  const refused = SLOW.flatMap((from) => [1, 2, 3, 4].map(() => dripOn(port, from)));
  await expect.poll(() => service.stats().upstreams[0]?.waiting).toBeGreaterThan(0);
  for (let count = 0; count < 4; count++) {
    expect(statusOf(await exchange(port, GET("/", CLOSE), QUICK))).toBe(200);
  }
  expect(refused.flat()).toContain(408);
  // Of the slow ones, some have waited in vain.
  expect(refused.flat().filter((status) => status !== 408 && status !== 503)).toEqual([]);
});

test("a guest that reads nothing gives its connection up to one that waits, and sees its answer broken", async () => {
  const { address } = await httpUpstream((request, response) => {
    if (request.url === "/large") response.end(Buffer.alloc(LARGE));
    else response.end("small");
  });
  const { port, service } = await start({ proxy: { upstreams: [address], connections: 2 } });
  const slow = SLOW.slice(0, 2).map((from) => guestSocket(port, from));
  for (const guest of slow) {
    guest.socket.pause();
    guest.send(GET("/large", CLOSE));
  }
  await expect.poll(() => service.stats().upstreams[0]?.connections.busy).toBe(2);
  expect(await exchange(port, GET("/", CLOSE), QUICK)).toContain("small");
  for (const guest of slow) guest.socket.resume();
  const lengths = await Promise.all(slow.map(async (guest) => bodyOf(await guest.closed()).length));
  expect(lengths.filter((length) => length === LARGE)).toHaveLength(1);
});

test("where too many wait for a connection, the guest with the fewest requests in flight goes first", async () => {
  const served: string[] = [];
  const answers: Array<() => void> = [];
  const { address } = await httpUpstream((request, response) => {
    served.push(String(request.headers["x-instance-id"]));
    answers.push(() => response.end());
  });
  const { port, service } = await start({
    proxy: { upstreams: [address], connections: 3, timeouts: { connect: 9000, firstByte: 9000, idle: 9000 } },
  });
  const greedy = Array.from({ length: 6 }, () => guestSocket(port, SLOW[0]));
  for (const guest of greedy) guest.send(GET("/", CLOSE));
  await expect.poll(() => service.stats().upstreams[0]?.waiting).toBe(3);
  await expect.poll(() => served).toHaveLength(3);
  // There is no room for it, so one of the greedy guest's requests has to go.
  const modest = exchange(port, GET("/", CLOSE), QUICK);
  const statuses = Promise.race(greedy.map((guest) => guest.closed().then(statusOf)));
  expect(await statuses).toBe(503);
  answers[0]!();
  await expect.poll(() => served.at(-1)).toBe("instance-6");
  for (let next = 1; next < 6; next++) {
    await expect.poll(() => answers.length).toBeGreaterThan(next);
    answers[next]!();
  }
  expect(statusOf(await modest)).toBe(200);
});

test("a body that comes byte by byte is given up, though there is no stop; one that is only large is not", async () => {
  const { address } = await httpUpstream(echo);
  const { port, service } = await start(
    { proxy: { upstreams: [address] } },
    { guestTimeouts: { head: 400, idle: 400, stalled: 400 } },
  );
  const refused = dripOn(port, SLOW[0]!);
  const large = guestSocket(port, QUICK);
  large.send(`PUT / HTTP/1.1\r\nHost: x\r\n${CLOSE}Content-Length: 40000\r\n\r\n`);
  let sent = 0;
  const timer = setInterval(() => {
    if (sent < 40_000) large.send("x".repeat(1000));
    sent += 1000;
  }, 50);
  cleanUp.push(() => clearInterval(timer));
  await expect.poll(() => refused, { timeout: 5000 }).toContain(408);
  expect(await large.closed()).toContain('"length":40000');
  expect(service.stats().upstreams[0]?.failures).toBe(0);
});

test("an answer without end goes no further than its buffers for a guest that does not read", async () => {
  let written = 0;
  const { address } = await httpUpstream((_, response) => {
    const more = () => {
      do written += 65_536;
      while (!response.destroyed && response.write(Buffer.alloc(65_536)));
    };
    response.on("drain", more);
    more();
  });
  const { port } = await start({ proxy: { upstreams: [address] } });
  const slow = SLOW.map((from) => guestSocket(port, from));
  for (const guest of slow) {
    guest.socket.pause();
    guest.send(GET("/"));
  }
  await Promise.all(slow.map(({ socket }) => (socket.connecting ? once(socket, "connect") : undefined)));
  let before = -1;
  await expect
    .poll(
      () => {
        const isStill = before === written && written > 0;
        before = written;
        return isStill;
      },
      { interval: 300, timeout: 10_000 },
    )
    .toBe(true);
  expect(written).toBeLessThan(SLOW.length * 40_000_000);
});

test("a guest that asks for thousands of things at once does not keep another one waiting until it has them", async () => {
  const order: string[] = [];
  const { port } = await start(
    {},
    {
      builtin: (_, { interface: name }) => {
        order.push(name);
        return { status: 200, headers: [], body: "ok" };
      },
    },
  );
  const [greedy, modest] = [guestSocket(port, SLOW[0]), guestSocket(port, QUICK)];
  for (const guest of [greedy, modest]) {
    guest.send(GET("/"));
    await guest.until(/ok$/);
  }
  order.length = 0;
  // Both are there before the service looks again.
  greedy.send(GET("/").repeat(1500));
  modest.send(GET("/"));
  await expect.poll(() => order).toHaveLength(1501);
  expect(order.indexOf("tap6")).toBeLessThan(100);
});

test("a guest that holds all connections there may be keeps nobody out, and loses none that is being served", async () => {
  let release = () => {};
  const { address } = await httpUpstream((request, response) => {
    if (request.url === "/held") release = () => response.end("held");
    else response.end("small");
  });
  const { port, service } = await start({
    limits: { ...LIMITS, connections: 4 },
    proxy: { upstreams: [address] },
  });
  async function open(from?: string) {
    const before = service.stats().connections;
    const guest = guestSocket(port, from);
    await expect.poll(() => service.stats().connections).toBe(before + 1);
    return guest;
  }
  const asking = await open(SLOW[0]);
  asking.send(GET("/held"));
  await expect.poll(() => service.stats().guests[0]?.inFlight).toBe(1);
  const other = await open(SLOW[1]);
  const [first, second] = [await open(SLOW[0]), await open(SLOW[0])];

  const modest = guestSocket(port, QUICK);
  modest.send(GET("/"));
  await modest.until(/small$/);
  expect(await first.closed()).toBe("");
  expect(first.error()).toBeUndefined();
  expect(statusOf(await exchange(port, GET("/", CLOSE), SLOW[2]))).toBe(200);
  await second.closed();
  release();
  await asking.until(/held$/);
  other.send(GET("/"));
  await other.until(/small$/);
  expect(service.stats().refusals.tooManyConnections).toBe(2);
});

test("who does not take the answers on all connections there may be keeps nobody out", async () => {
  const body = "x".repeat(LARGE);
  const { port, service } = await start(
    { limits: { ...LIMITS, connections: 2 } },
    { builtin: ({ path }) => ({ status: 200, headers: [], body: path === "/large" ? body : "small" }) },
  );
  for (let count = 0; count < 2; count++) {
    const guest = guestSocket(port, SLOW[0]);
    guest.socket.pause();
    guest.send(GET("/large"));
  }
  await expect.poll(() => service.stats().answers).toMatchObject([{ count: 2 }]);
  expect(await exchange(port, GET("/", CLOSE), QUICK)).toContain("small");
});

test("a lowered limit of connections is come down to, two for each new one", async () => {
  const { port, service } = await start({});
  for (let count = 0; count < 5; count++) guestSocket(port, SLOW[0]);
  await expect.poll(() => service.stats().connections).toBe(5);
  service.configure({
    mode: "builtin",
    requireToken: false,
    limits: { ...LIMITS, connections: 3 },
    proxy: undefined,
  });
  expect(statusOf(await exchange(port, GET("/", CLOSE), QUICK))).toBe(200);
  await expect.poll(() => service.stats().connections).toBe(3);
});
