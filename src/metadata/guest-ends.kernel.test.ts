/** How connections end, as guests see it, and what a guest's connections cost it: the service on the loopback. */
import { once } from "node:events";
import { expect, test } from "vitest";
import {
  bodyOf,
  CLOSE,
  exchange,
  GET,
  guestSocket,
  LIMITS,
  rawUpstream,
  start,
  statusOf,
} from "./testing.ts";

test.each(["1.0", "1.1"])("an answer that breaks off is not taken for whole, in HTTP/%s", async (version) => {
  let breakOff = () => {};
  const { address } = await rawUpstream((socket) => {
    breakOff = () => void socket.end("what is no chunk\r\n");
    socket.once("data", () =>
      socket.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"),
    );
  });
  const { port } = await start({ proxy: { upstreams: [address] } });
  const guest = guestSocket(port);
  guest.send(`GET / HTTP/${version}\r\nHost: x\r\n\r\n`);
  await guest.until(/half/);
  breakOff();
  await guest.closed();
  expect(guest.error()).toBe("ECONNRESET");
});

test("an answer up to the end of the upstream's connection is whole where that ends, and not where it breaks", async () => {
  let end = (_: "end" | "resetAndDestroy") => {};
  const { address } = await rawUpstream((socket) => {
    end = (how) => void socket[how]();
    socket.once("data", () => socket.write("HTTP/1.1 200 OK\r\n\r\nhalf"));
  });
  const { port } = await start({ proxy: { upstreams: [address] } });
  for (const how of ["end", "resetAndDestroy"] as const) {
    const guest = guestSocket(port);
    guest.send(GET("/", CLOSE));
    await guest.until(/half/);
    end(how);
    const answer = await guest.closed();
    expect(answer.endsWith("\r\n0\r\n\r\n"), how).toBe(how === "end");
    expect(guest.error(), how).toBe(how === "end" ? undefined : "ECONNRESET");
  }
});

test("a guest that is still sending when it is refused receives the answer, and is not cut off", async () => {
  const { port } = await start({});
  const guest = guestSocket(port, "127.0.0.2", true);
  const send = () => new Promise((resolve) => guest.socket.write(Buffer.alloc(100_000), resolve));
  guest.send("GET / HTTP/1.1\r\nHost : x\r\n\r\n");
  await once(guest.socket, "end");
  expect(statusOf(guest.received())).toBe(400);
  expect(bodyOf(guest.received())).toContain("no token");
  for (let count = 0; count < 3; count++) expect(await send()).toBeFalsy();
  guest.socket.end();
  await guest.closed();
  expect(guest.error()).toBeUndefined();
});

test("what a guest sends on and on after a refusal is taken for a while, and then no more", async () => {
  const { port } = await start({});
  const guest = guestSocket(port, "127.0.0.2", true);
  guest.send("GET / HTTP/1.1\r\nHost : x\r\n\r\n");
  let written = 0;
  const chunk = Buffer.alloc(1_000_000);
  const more = () => {
    while (guest.socket.writable && guest.socket.write(chunk)) written += chunk.length;
    written += chunk.length;
  };
  guest.socket.on("drain", more);
  more();
  expect(statusOf(await guest.closed())).toBe(400);
  expect(written).toBeLessThan(40_000_000);
});

test("connections that are not wanted are reset, not ended as if an answer were complete", async () => {
  const { port } = await start({ limits: { ...LIMITS, connectionsPerGuest: 1 } });
  const stranger = guestSocket(port, "127.0.0.77");
  await stranger.closed();
  expect(stranger.error()).toBe("ECONNRESET");
  const [first, second] = [guestSocket(port), guestSocket(port)];
  await once(first.socket, "connect");
  await second.closed();
  expect(second.error()).toBe("ECONNRESET");
});

test("malformed requests, and connections without any, count as requests", async () => {
  const limits = { ...LIMITS, requestsPerSecond: 5 };
  const { port, service } = await start({ limits });
  for (let count = 0; count < 5; count++) {
    expect(statusOf(await exchange(port, "nonsense\r\n\r\n"))).toBe(400);
  }
  expect(statusOf(await exchange(port, GET("/", CLOSE)))).toBe(429);
  for (let count = 0; count < 5; count++) {
    const guest = guestSocket(port, "127.0.0.3");
    guest.socket.end();
    await guest.closed();
  }
  expect(statusOf(await exchange(port, GET("/", CLOSE), "127.0.0.3"))).toBe(429);
  // Who goes on is not even listened to, for a while; others are.
  const statuses: number[] = [];
  for (let count = 0; count < 20; count++) {
    const guest = guestSocket(port);
    guest.send("nonsense\r\n\r\n");
    await guest.closed();
    statuses.push(guest.error() === undefined ? 400 : 0);
  }
  expect(statuses).toContain(0);
  expect(service.stats().refusals.malformed).toBeLessThan(20);
  expect(statusOf(await exchange(port, GET("/", CLOSE), "127.0.0.4"))).toBe(200);
});

test("an answer before the end of the request's body is passed on, and what was to come after it is not read as a request", async () => {
  let requests = 0;
  const { address } = await rawUpstream((socket) => {
    socket.on("data", () => {
      requests += 1;
      socket.write("HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno");
    });
  });
  const { port, service } = await start({ proxy: { upstreams: [address] } });
  const guest = guestSocket(port);
  guest.send("PUT / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 1000\r\n\r\n");
  const answer = await guest.until(/no$/);
  expect(answer).toMatch(/^HTTP\/1\.1 401 .*Connection: close\r\n/s);
  guest.send(GET("/hidden"));
  expect(await guest.closed()).toBe(answer);
  expect(requests).toBe(1);
  expect(service.stats().upstreams[0]?.connections).toEqual({ busy: 0, idle: 0 });
});
