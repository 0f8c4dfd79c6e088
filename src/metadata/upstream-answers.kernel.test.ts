/** Answers that upstreams should not give, and what guests get of them: the service on the loopback. */
import type { Socket } from "node:net";
import { expect, test } from "vitest";
import { GET, guestSocket, rawUpstream, start } from "./testing.ts";

/** An upstream that answers the first request with this, and what comes next on the same connection with an answer that is somebody else's. */
async function answering(first: string) {
  return rawUpstream((socket: Socket, number) => {
    let requests = 0;
    socket.on("data", () => {
      requests += 1;
      if (number > 0) socket.write("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood");
      else if (requests === 1) socket.write(first);
      else socket.write("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil");
    });
  });
}

test.each([
  ["GET", "204 No Content", "Content-Length: 4\r\n"],
  ["GET", "204 No Content", "Transfer-Encoding: chunked\r\n"],
  ["GET", "304 Not Modified", "Content-Length: 4\r\n"],
  ["HEAD", "200 OK", "Content-Length: 4\r\n"],
  ["HEAD", "200 OK", "Transfer-Encoding: chunked\r\n"],
])("what may follow an answer to %s of %s with %s is nobody's answer", async (method, status, field) => {
  const upstream = await answering(`HTTP/1.1 ${status}\r\n${field}\r\n`);
  const { port } = await start({ proxy: { upstreams: [upstream.address] } });
  const guest = guestSocket(port);
  guest.send(`${method} /a HTTP/1.1\r\nHost: x\r\n\r\n`);
  const head = await guest.until(/\r\n\r\n$/);
  expect(head).toMatch(new RegExp(`^HTTP/1\\.1 ${status}\r\n`));
  if (status.startsWith("204")) expect(head).not.toMatch(/Content-Length|Transfer-Encoding/);
  guest.send(GET("/b"));
  expect(await guest.until(/(good|evil)$/)).toContain("good");
});

test("an answer without a body, and without the length of one, leaves the connection in use", async () => {
  const upstream = await answering("HTTP/1.1 204 No Content\r\n\r\n");
  const { port } = await start({ proxy: { upstreams: [upstream.address] } });
  const guest = guestSocket(port);
  guest.send(GET("/a"));
  await guest.until(/\r\n\r\n$/);
  guest.send(GET("/b"));
  await guest.until(/evil$/);
  expect(upstream.connections()).toBe(1);
});

test.each([
  ["an interim answer with a body", "HTTP/1.1 103 Early Hints\r\nContent-Length: 4\r\n\r\nabcd"],
  ["a bare line feed", "HTTP/1.1 200 OK\nContent-Length: 4\r\n\r\nabcd"],
  ["two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nabcd"],
  ["a list of lengths", "HTTP/1.1 200 OK\r\nContent-Length: 4, 4\r\n\r\nabcd"],
  [
    "a length and chunks",
    "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
  ],
  ["a coding before chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"],
  ["a space before a colon", "HTTP/1.1 200 OK\r\nContent-Length : 4\r\n\r\nabcd"],
  ["a folded line", "HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 4\r\n\r\nabcd"],
  ["another protocol", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n"],
])("an answer with %s is 502, and nothing of it is passed on", async (_, answer) => {
  const upstream = await rawUpstream((socket) => socket.on("data", () => socket.write(answer)));
  const { port } = await start({ proxy: { upstreams: [upstream.address] } });
  const guest = guestSocket(port);
  guest.send(GET("/"));
  const received = await guest.until(/\n$/);
  expect(received).toMatch(/^HTTP\/1\.1 502 /);
  expect(received).not.toMatch(/abcd|103/);
});
