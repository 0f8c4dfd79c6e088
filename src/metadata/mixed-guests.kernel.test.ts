/** Many guests at once through few connections to an upstream: all bytes are received into the same memory, and nobody may get any of another's. */
import type { Socket } from "node:net";
import { expect, test } from "vitest";
import { createMessageParser } from "./http-parser.ts";
import { readResponseHead } from "./http-response.ts";
import { httpError } from "./http-syntax.ts";
import { CLOSE, GUESTS, guestSocket, httpUpstream, LIMITS, start } from "./testing.ts";

const CONNECTIONS = 4;
const REQUESTS = 20;
/** Lengths of the pieces in which requests are sent, and of bodies; no two connections go through them in step. */
const PIECES = [1, 5000, 40, 70_000, 300, 2, 16_384];
const LENGTHS = [10, 0, 300, 2000, 65_536, 5, 150_000, 900];

/** A body that tells whose it is. */
function bodyOf(who: string, number: number): string {
  const mark = `${who} ${number};`;
  return mark.repeat(Math.ceil(LENGTHS[number % LENGTHS.length]! / mark.length));
}

/** A message with this body, in chunks but for one in three. */
function messageOf(head: string, body: string, number: number): string {
  if (number % 3 === 0) return `${head}Content-Length: ${body.length}\r\n\r\n${body}`;
  const chunks = body.match(/.{1,7000}/gs) ?? [];
  const lines = chunks.map((chunk) => `${chunk.length.toString(16)}\r\n${chunk}\r\n`);
  return `${head}Transfer-Encoding: chunked\r\n\r\n${lines.join("")}0\r\n\r\n`;
}

/** Sends a text in pieces, each in a turn of its own. */
async function sendInPieces(socket: Socket, text: string, firstPiece: number): Promise<void> {
  for (let [at, piece] = [0, firstPiece]; at < text.length; piece++) {
    const length = PIECES[piece % PIECES.length]!;
    socket.write(text.slice(at, at + length), "latin1");
    at += length;
    await new Promise((resolve) => setImmediate(resolve));
  }
}

/** The bodies of all the answers in a text. */
function bodiesIn(text: string): string[] {
  const parser = createMessageParser({
    readHead: readResponseHead,
    maxHead: 1000,
    tooLong: () => httpError("a head of too many bytes"),
  });
  parser.feed(Buffer.from(text, "latin1"));
  const bodies: string[] = [];
  for (let event = parser.next(); event !== undefined; event = parser.next()) {
    if (event.kind === "error") throw new Error(event.error.reason);
    if (event.kind === "head") bodies.push("");
    if (event.kind === "data") bodies[bodies.length - 1] += event.bytes.toString("latin1");
  }
  return bodies;
}

test("what guests send and get is theirs alone, however it is cut and mixed", async () => {
  const { address } = await httpUpstream(async (request) => {
    const parts: Buffer[] = [];
    for await (const part of request) parts.push(part as Buffer);
    const body = Buffer.concat(parts).toString("latin1");
    const number = Number(request.url?.slice(1));
    const isTheirs = body === bodyOf(String(request.headers["x-instance-id"]), number);
    const answer = messageOf("HTTP/1.1 200 OK\r\n", isTheirs ? body : "mixed", number);
    // Not by way of the response, which would not cut it like this.
    await sendInPieces(request.socket, answer, number);
  });
  const { port } = await start({
    limits: { ...LIMITS, requestsPerSecond: 1_000_000 },
    proxy: { upstreams: [address], connections: 50 },
  });

  async function ask(from: string, who: string, number: number): Promise<void> {
    const numbers = Array.from({ length: REQUESTS }, (_, request) => number + request);
    const requests = numbers.map((request) => {
      const last = request === numbers.at(-1) ? CLOSE : "";
      const head = `PUT /${request} HTTP/1.1\r\nHost: x\r\n${last}`;
      return messageOf(head, bodyOf(who, request), request);
    });
    const guest = guestSocket(port, from);
    await sendInPieces(guest.socket, requests.join(""), number);
    const expected = numbers.map((request) => bodyOf(who, request));
    const isTheirs = bodiesIn(await guest.closed()).map((body, at) => body === expected[at]);
    expect(isTheirs).toEqual(Array(REQUESTS).fill(true));
  }
  const all = [...GUESTS].flatMap(([from, { instanceId }], index) =>
    instanceId === undefined
      ? []
      : Array.from({ length: CONNECTIONS }, (_, one) => ask(from, instanceId, index + 3 * one)),
  );
  await Promise.all(all);
});
