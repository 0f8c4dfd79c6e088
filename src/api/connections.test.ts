import { once } from "node:events";
import { createServer, type Server, type ServerResponse } from "node:http";
import { type AddressInfo, connect, type Socket } from "node:net";
import { afterEach, beforeEach, expect, it } from "vitest";
import { limitConnections } from "./connections.ts";

let server: Server;
let answers: Array<() => ServerResponse>;
const sockets: Socket[] = [];

beforeEach(async () => {
  answers = [];
  server = createServer((_, response) => {
    answers.push(() => response.end("ok"));
    server.emit("asked");
  });
  limitConnections(server, 2);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
});
afterEach(() => {
  for (const socket of sockets.splice(0)) socket.destroy();
  server.close();
});

async function open(): Promise<Socket> {
  const accepted = once(server, "connection");
  const socket = connect((server.address() as AddressInfo).port, "127.0.0.1");
  socket.on("error", () => {});
  sockets.push(socket);
  await accepted;
  return socket;
}

async function ask(socket: Socket): Promise<void> {
  const asked = once(server, "asked");
  socket.write("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
  await asked;
}

it("closes the longest idle for a new one, and spares those that have a request under way", async () => {
  const busy = await open();
  await ask(busy);
  const idle = await open();
  const closed = once(idle, "close");
  const next = await open();
  await closed;
  await ask(next);
  answers[0]!();
  expect(String((await once(busy, "data"))[0])).toContain("200");
  expect(next.destroyed).toBe(false);
});

it("counts one as idle again once it has its answer", async () => {
  const [first, second] = [await open(), await open()];
  await ask(first);
  answers[0]!();
  await once(first, "data");
  const closed = once(second, "close");
  await open();
  await closed;
  const firstClosed = once(first, "close");
  await open();
  await firstClosed;
});

it("closes the new one where all are busy", async () => {
  for (const socket of [await open(), await open()]) await ask(socket);
  const refused = await open();
  if (!refused.closed) await once(refused, "close");
  expect(sockets.map(({ destroyed }) => destroyed)).toEqual([false, false, true]);
});
