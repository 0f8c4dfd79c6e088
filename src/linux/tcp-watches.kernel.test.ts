/** Where no more sockets can be waited for: the limit on that (fs.epoll.max_user_watches) is one for all processes of the user, so here the call only says that it is reached. */
import { once } from "node:events";
import { readdir } from "node:fs/promises";
import { type AddressInfo, connect, createServer } from "node:net";
import { constants } from "node:os";
import { afterEach, expect, it, vi } from "vitest";
import type * as socketCalls from "./socket-calls.ts";
import { connectTcp, listenTcp, type TcpEvents } from "./tcp.ts";
import { freePort } from "./testing.ts";

let isFull = false;
vi.mock("./socket-calls.ts", async (importOriginal) => {
  const real = await importOriginal<typeof socketCalls>();
  const openSocketSet = (): socketCalls.SocketSet => {
    const set = real.openSocketSet();
    return { ...set, add: (...args) => (isFull ? -constants.errno.ENOSPC : set.add(...args)) };
  };
  return { ...real, openSocketSet };
});

const cleanUp: Array<() => void> = [];
afterEach(() => {
  isFull = false;
  for (const step of cleanUp.splice(0).reverse()) step();
});

/** What was heard of a connection, in words. */
function recorder() {
  const heard: string[] = [];
  const events: TcpEvents = {
    connected: () => void heard.push("connected"),
    data: () => void heard.push("data"),
    drained() {},
    ended: () => void heard.push("ended"),
    closed: (reason) => void heard.push(`closed ${reason}`),
  };
  return { events, heard };
}

const descriptors = async () => (await readdir("/proc/self/fd")).length;

/** How the peer of a connection of ours sees it end. */
async function outcome(port: number): Promise<string> {
  const client = connect(port, "127.0.0.1");
  cleanUp.push(() => client.destroy());
  let how = "ended";
  client.on("data", (bytes) => {
    how = bytes.toString();
  });
  client.on("error", ({ code }: NodeJS.ErrnoException) => {
    how = String(code);
  });
  await new Promise((resolve) => client.once("close", resolve));
  return how;
}

it("a connection to be made is told to be closed, with the reason, and nothing is left of it", async () => {
  const server = createServer((socket) => socket.on("error", () => {})).listen(0, "127.0.0.1");
  cleanUp.push(() => server.close());
  await once(server, "listening");
  const at = { address: "127.0.0.1", port: (server.address() as AddressInfo).port };
  const first = recorder();
  const connection = connectTcp(at, first.events);
  cleanUp.push(() => connection.destroy());
  await expect.poll(() => first.heard).toEqual(["connected"]);
  isFull = true;
  const { events, heard } = recorder();
  const before = await descriptors();
  for (let count = 0; count < 20; count++) connectTcp(at, events);
  expect(heard).toEqual([]);
  connectTcp(at, events).destroy();
  await expect.poll(() => heard).toEqual(Array(20).fill("closed ENOSPC"));
  // The other ends are closed as soon as they are noticed.
  await expect.poll(descriptors).toBeLessThanOrEqual(before);
});

it("a connection that came is reset, and later ones are served when there is room again", async () => {
  const port = await freePort();
  let accepted = 0;
  const listener = listenTcp({ address: "127.0.0.1", port }, (connection) => {
    accepted += 1;
    connection.write("welcome");
    connection.end();
    return recorder().events;
  });
  cleanUp.push(() => listener.close());
  isFull = true;
  expect(await outcome(port)).toBe("ECONNRESET");
  expect(await outcome(port)).toBe("ECONNRESET");
  expect(accepted).toBe(0);
  isFull = false;
  expect(await outcome(port)).toBe("welcome");
});

it("who cannot listen is told, and does not keep the place", async () => {
  const at = { address: "127.0.0.1", port: await freePort() };
  const other = listenTcp({ ...at, port: await freePort() }, () => recorder().events);
  cleanUp.push(() => other.close());
  isFull = true;
  expect(() => listenTcp(at, () => recorder().events)).toThrow(/cannot wait for connections on .*ENOSPC/);
  isFull = false;
  listenTcp(at, () => recorder().events).close();
});
