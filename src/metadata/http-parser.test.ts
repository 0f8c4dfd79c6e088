import fc from "fast-check";
import { describe, expect, it, vi } from "vitest";
import { createMessageParser, type MessageEvent, type MessageParser } from "./http-parser.ts";
import { type RequestHead, readRequestHead, tooLong } from "./http-request.ts";
import { type ResponseHead, readResponseHead } from "./http-response.ts";

const MAX_HEAD = 1024;

function requestParser(): MessageParser<RequestHead> {
  return createMessageParser({ readHead: readRequestHead, maxHead: MAX_HEAD, tooLong });
}

function responseParser(method = "GET"): MessageParser<ResponseHead> {
  const parser = createMessageParser({
    readHead: readResponseHead,
    maxHead: MAX_HEAD,
    tooLong: () => ({ status: 502, reason: "too long" }),
  });
  parser.context = method;
  return parser;
}

/**
 * What the parser makes of bytes that come in these parts, as connections give them: in memory that holds other bytes too, and is used again. Pieces of a body that
 * follow each other are put together.
 */
function eventsOf<Head>(parser: MessageParser<Head>, parts: readonly Buffer[]): MessageEvent<Head>[] {
  const events: MessageEvent<Head>[] = [];
  const memory = Buffer.alloc(Math.max(0, ...parts.map((part) => part.length)) + 100);
  for (const part of parts) {
    memory.fill("\r\n");
    const from = part.length % 50;
    part.copy(memory, from);
    parser.feed(memory, from, from + part.length);
    for (let event = parser.next(); event !== undefined; event = parser.next()) {
      const last = events.at(-1);
      if (event.kind === "data") {
        const before = last?.kind === "data" ? [last.bytes] : [];
        if (last?.kind === "data") events.pop();
        events.push({ kind: "data", bytes: Buffer.concat([...before, event.bytes]) });
      } else events.push(event);
      if (event.kind === "error") return events;
    }
    parser.keep();
  }
  return events;
}

function request(text: string): MessageEvent<RequestHead>[] {
  return eventsOf(requestParser(), [Buffer.from(text, "latin1")]);
}

function response(text: string, method?: string): MessageEvent<ResponseHead>[] {
  return eventsOf(responseParser(method), [Buffer.from(text, "latin1")]);
}

/** In a line: `GET`, `data 3`, `end`, `error 400`. */
function summary(events: MessageEvent<RequestHead | ResponseHead>[]): string {
  return events
    .map((event) => {
      if (event.kind === "head") return "method" in event.head ? event.head.method : event.head.status;
      if (event.kind === "data") return `data ${event.bytes.length}`;
      return event.kind === "end" ? "end" : `error ${event.error.status}`;
    })
    .join(", ");
}

const HOST = "Host: 169.254.169.254\r\n";

describe("a request", () => {
  it("is read with its fields", () => {
    const [head] = request(
      `GET /latest/meta-data?x=%20&y HTTP/1.1\r\n${HOST}X-Some:  a\tb \t\r\nX-Latin: \xe4\r\nConnection: Close, X-Some\r\n\r\n`,
    );
    expect(head).toEqual({
      kind: "head",
      head: {
        method: "GET",
        path: "/latest/meta-data",
        query: "x=%20&y",
        version: "1.1",
        fields: [
          { lower: "host", value: "169.254.169.254", line: HOST },
          { lower: "x-some", value: "a\tb", line: "X-Some:  a\tb \t\r\n" },
          { lower: "x-latin", value: "\xe4", line: "X-Latin: \xe4\r\n" },
          { lower: "connection", value: "Close, X-Some", line: "Connection: Close, X-Some\r\n" },
        ],
        connection: ["close", "x-some"],
        body: 0,
        expectsContinue: false,
        keepAlive: false,
      },
    });
  });

  it.each([
    ["without a body", `GET / HTTP/1.1\r\n${HOST}\r\n`, "GET, end"],
    ["in HTTP/1.0 without Host", "GET / HTTP/1.0\r\n\r\n", "GET, end"],
    ["with an absolute target", `GET http://h:80/a?b HTTP/1.1\r\n${HOST}\r\n`, "GET, end"],
    ["with a length", `POST / HTTP/1.1\r\n${HOST}Content-Length: 3\r\n\r\nabc`, "POST, data 3, end"],
    ["with a length of nothing", `PUT / HTTP/1.1\r\n${HOST}Content-Length: 0\r\n\r\n`, "PUT, end"],
    [
      "in chunks",
      `PUT / HTTP/1.1\r\n${HOST}Transfer-Encoding: Chunked\r\n\r\n3\r\nabc\r\nA;x="y"\r\n0123456789\r\n0\r\nX: y\r\n\r\n`,
      "PUT, data 13, end",
    ],
    [
      "after another",
      `DELETE / HTTP/1.1\r\n${HOST}\r\nHEAD / HTTP/1.1\r\n${HOST}\r\n`,
      "DELETE, end, HEAD, end",
    ],
    ["with a bracketed host", "GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", "GET, end"],
    ["with an empty host", "GET / HTTP/1.1\r\nHost:\r\n\r\n", "GET, end"],
  ])("%s is read", (_, text, expected) => {
    expect(summary(request(text))).toBe(expected);
  });

  it.each([
    ["the same length twice", `${HOST}Content-Length: 3\r\nContent-Length: 3\r\n`, 400],
    ["two lengths", `${HOST}Content-Length: 3\r\nContent-length: 4\r\n`, 400],
    ["a list of lengths", `${HOST}Content-Length: 3, 3\r\n`, 400],
    ["a length with a sign", `${HOST}Content-Length: +3\r\n`, 400],
    ["a length in hex", `${HOST}Content-Length: 0x3\r\n`, 400],
    ["a length that no number holds", `${HOST}Content-Length: 9999999999999999\r\n`, 400],
    ["an empty length", `${HOST}Content-Length:\r\n`, 400],
    ["length and chunks", `${HOST}Content-Length: 3\r\nTransfer-Encoding: chunked\r\n`, 400],
    ["chunks and length", `${HOST}Transfer-Encoding: chunked\r\nContent-Length: 3\r\n`, 400],
    ["chunks twice", `${HOST}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n`, 400],
    ["an unknown coding", `${HOST}Transfer-Encoding: gzip\r\n`, 501],
    ["a list of codings", `${HOST}Transfer-Encoding: gzip, chunked\r\n`, 501],
    ["chunks in a word", `${HOST}Transfer-Encoding: xchunked\r\n`, 501],
    ["chunks behind a vertical tab", `${HOST}Transfer-Encoding: \x0bchunked\r\n`, 400],
    ["a space before the colon", `${HOST}Content-Length : 3\r\n`, 400],
    ["a space before a name", `${HOST} X: y\r\n`, 400],
    ["a folded line", `${HOST}X: y\r\n z\r\n`, 400],
    ["a line without a colon", `${HOST}X\r\n`, 400],
    ["an empty name", `${HOST}: y\r\n`, 400],
    ["a name with a bracket", `${HOST}X(: y\r\n`, 400],
    ["a name beyond ASCII", `${HOST}X\xe4: y\r\n`, 400],
    ["a bare LF", `${HOST}X: y\nZ: z\r\n`, 400],
    ["a bare CR", `${HOST}X: y\rZ: z\r\n`, 400],
    ["CR CR LF", `${HOST}X: y\r\r\n`, 400],
    ["a NUL", `${HOST}X: \0\r\n`, 400],
    ["a DEL", `${HOST}X: \x7f\r\n`, 400],
    ["no Host", "", 400],
    ["two Hosts", `${HOST}${HOST}`, 400],
    ["a Host with a slash", "Host: a/b\r\n", 400],
    ["a Host with a user", "Host: u@b\r\n", 400],
    ["an unknown expectation", `${HOST}Expect: 200-ok\r\n`, 417],
    ["a head that is too long", `${HOST}X: ${"x".repeat(MAX_HEAD)}\r\n`, 431],
    ["too many fields", `${HOST}${"X:\r\n".repeat(100)}`, 431],
  ])("with %s is refused", (_, fields, status) => {
    expect(summary(request(`POST / HTTP/1.1\r\n${fields}\r\nabc`))).toBe(`error ${status}`);
  });

  it.each([
    ["TRACE / HTTP/1.1", 501],
    ["CONNECT a:80 HTTP/1.1", 501],
    ["get / HTTP/1.1", 501],
    ["OPTIONS * HTTP/1.1", 501],
    ["G(T / HTTP/1.1", 400],
    [" GET / HTTP/1.1", 400],
    ["GET  / HTTP/1.1", 400],
    ["GET /  HTTP/1.1", 400],
    ["GET\t/ HTTP/1.1", 400],
    ["GET / HTTP/1.1 ", 400],
    ["GET /", 400],
    ["GET", 400],
    ["", 400],
    ["GET / HTTP/2.0", 505],
    ["GET / HTTP/1.2", 505],
    ["GET / http/1.1", 400],
    ["GET * HTTP/1.1", 400],
    ["GET a HTTP/1.1", 400],
    ["GET https://a/ HTTP/1.1", 400],
    ["GET http:///a HTTP/1.1", 400],
    ["GET http://u@h/a HTTP/1.1", 400],
    ["GET /a b HTTP/1.1", 400],
    ["GET /a#b HTTP/1.1", 400],
    ["GET /a\\b HTTP/1.1", 400],
    ["GET /\xe4 HTTP/1.1", 400],
    ["GET /.. HTTP/1.1", 400],
    ["GET /a/../b HTTP/1.1", 400],
    ["GET /a/./b HTTP/1.1", 400],
    ["GET /a/%2E%2e/b HTTP/1.1", 400],
    ["GET /a/.%2e HTTP/1.1", 400],
    ["GET http://h/../b HTTP/1.1", 400],
    ["GET /%0 HTTP/1.1", 400],
    ["GET /%00 HTTP/1.1", 400],
    ["GET /%ff HTTP/1.1", 400],
    ["GET /a%2fb HTTP/1.1", 400],
    ["GET /a%2F..%2Fb HTTP/1.1", 400],
    ["GET /a%5c..%5Cb HTTP/1.1", 400],
    ["GET /%252e%252e/b HTTP/1.1", 400],
    ["GET /a%0d%0ab HTTP/1.1", 400],
    ["GET /%c0%af HTTP/1.1", 400],
    ["GET /a/..;x/b HTTP/1.1", 400],
    ["GET /a/%2e%2E;/b HTTP/1.1", 400],
    [`GET /${"a".repeat(MAX_HEAD)} HTTP/1.1`, 414],
  ])("that begins with %j is refused", (line, status) => {
    expect(summary(request(`${line}\r\n${HOST}\r\n`))).toBe(`error ${status}`);
  });

  it.each(["/.well-known/x", "/a/...", "/a..b/", "/a?/../", "//a", "/a%20b", "/100%25", "/a;b"])(
    "may ask for %s",
    (target) => {
      expect(summary(request(`GET ${target} HTTP/1.1\r\n${HOST}\r\n`))).toBe("GET, end");
    },
  );

  it("has a path without doubled slashes, and its query as it was sent", () => {
    const [event] = request(`GET //h//%61/b//?x=//%2f HTTP/1.1\r\n${HOST}\r\n`);
    expect(event).toMatchObject({ head: { path: "/h/%61/b/", query: "x=//%2f" } });
  });

  it.each([
    ["no size", "\r\nabc\r\n"],
    ["a size with a sign", "-3\r\nabc\r\n"],
    ["a size in 0x", "0x3\r\nabc\r\n"],
    ["a size that no number holds", "fffffffffffff\r\nabc\r\n"],
    ["more bytes than it says", "2\r\nabc\r\n"],
    ["fewer bytes than it says", "4\r\nabc\r\n0\r\n\r\n"],
    ["a bare LF", "3\nabc\r\n"],
    ["a bare LF behind its bytes", "3\r\nabc\n0\r\n\r\n"],
    ["extensions without end", `3;${"x".repeat(300)}\r\nabc\r\n`],
    ["a NUL in an extension", "3;\0\r\nabc\r\n"],
    ["a trailer without a colon", "0\r\nabc\r\n\r\n"],
  ])("with a chunk with %s is refused", (_, chunks) => {
    const text = `POST / HTTP/1.1\r\n${HOST}Transfer-Encoding: chunked\r\n\r\n${chunks}`;
    expect(summary(request(text))).toMatch(/^POST, (data \d+, )?error 400$/);
  });

  it("with trailers without end is refused", () => {
    const trailers = "X: y\r\n".repeat(2000);
    const text = `POST / HTTP/1.1\r\n${HOST}Transfer-Encoding: chunked\r\n\r\n0\r\n${trailers}`;
    expect(summary(request(text))).toBe("POST, error 431");
  });

  it("expects 100 Continue only with a body, and not in HTTP/1.0", () => {
    const expects = (line: string, fields: string) => {
      const [event] = request(`${line}\r\n${HOST}Expect: 100-Continue\r\n${fields}\r\n`);
      return event?.kind === "head" && event.head.expectsContinue;
    };
    expect(expects("PUT / HTTP/1.1", "Content-Length: 1\r\n")).toBe(true);
    expect(expects("PUT / HTTP/1.1", "")).toBe(false);
    expect(expects("PUT / HTTP/1.0", "Content-Length: 1\r\n")).toBe(false);
  });
});

describe("a response", () => {
  it.each([
    ["HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab", "GET", "200, data 2, end"],
    ["HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", "HEAD", "200, end"],
    ["HTTP/1.1 204 No Content\r\n\r\n", "GET", "204, end"],
    ["HTTP/1.1 304\r\nContent-Length: 9\r\n\r\n", "GET", "304, end"],
    [
      "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Made\r\nContent-Length: 0\r\n\r\n",
      "PUT",
      "100, end, 201, end",
    ],
    ["HTTP/1.1 200 \r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n", "GET", "200, data 1, end"],
    ["HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nab", "GET", "error 400"],
    ["HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "GET", "error 400"],
    ["HTTP/1.1 20 OK\r\n\r\n", "GET", "error 400"],
    ["HTTP/2 200 OK\r\n\r\n", "GET", "error 400"],
    ["HTTP/1.1 200 O\nK\r\n\r\n", "GET", "error 400"],
    ["ICY 200 OK\r\n\r\n", "GET", "error 400"],
  ])("%j to %s is read as %s", (text, method, expected) => {
    expect(summary(response(text, method))).toBe(expected);
  });

  it("without a length goes on until the connection ends", () => {
    const parser = responseParser();
    expect(summary(eventsOf(parser, [Buffer.from("HTTP/1.1 200 OK\r\n\r\nabc")]))).toBe("200, data 3");
    expect(parser.finish()).toEqual({ kind: "end" });
  });

  it("that ends too early is an error, and none between two", () => {
    for (const text of ["HTTP/1.1", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\na"]) {
      const parser = responseParser();
      eventsOf(parser, [Buffer.from(text)]);
      expect(parser.finish()?.kind).toBe("error");
    }
    const parser = responseParser();
    eventsOf(parser, [Buffer.from("HTTP/1.1 204 No\r\n\r\n")]);
    expect(parser.finish()).toBeUndefined();
  });
});

/** Bytes cut at some places. */
function cut(bytes: Buffer, places: readonly number[]): Buffer[] {
  const sorted = [...new Set(places.map((place) => place % (bytes.length + 1)))].sort((a, b) => a - b);
  return [...sorted, bytes.length].map((end, index) => bytes.subarray(sorted[index - 1] ?? 0, end));
}

/** Pieces of requests, right and wrong ones, in any order. */
const pieces = fc
  .array(
    fc.constantFrom(
      "GET / HTTP/1.1\r\n",
      "POST /a HTTP/1.1\r\n",
      HOST,
      "Content-Length: 5\r\n",
      "Transfer-Encoding: chunked\r\n",
      "X: y\r\n",
      "\r\n",
      "\n",
      "\r",
      " ",
      "5\r\n",
      "hello",
      "0\r\n",
      "0\r\n\r\n",
      "\0",
      "z".repeat(300),
    ),
    { maxLength: 24 },
  )
  .map((list) => Buffer.from(list.join(""), "latin1"));

describe("the parser", () => {
  it("says the same however the bytes are cut", () => {
    fc.assert(
      fc.property(
        fc.oneof({ weight: 3, arbitrary: pieces }, fc.uint8Array({ maxLength: 200 }).map(Buffer.from)),
        fc.array(fc.nat(5000), { maxLength: 12 }),
        (bytes, places) => {
          const whole = eventsOf(requestParser(), [bytes]);
          expect(eventsOf(requestParser(), cut(bytes, places))).toEqual(whole);
          expect(
            eventsOf(
              requestParser(),
              [...bytes].map((byte) => Buffer.of(byte)),
            ),
          ).toEqual(whole);
        },
      ),
      { numRuns: 400 },
    );
  });

  it("gives back the bodies that were sent, however they were framed and cut", () => {
    const body = fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes));
    const bodies = fc.array(fc.record({ body, chunk: fc.integer({ min: 0, max: 40 }) }), { maxLength: 4 });
    fc.assert(
      fc.property(bodies, fc.array(fc.nat(5000), { maxLength: 8 }), (sent, places) => {
        const bytes = Buffer.concat(sent.map(({ body, chunk }) => framed(body, chunk)));
        const received: Buffer[] = [];
        for (const event of eventsOf(requestParser(), cut(bytes, places))) {
          if (event.kind === "head") received.push(Buffer.alloc(0));
          else if (event.kind === "data") received.push(Buffer.concat([received.pop()!, event.bytes]));
          else expect(event.kind).toBe("end");
        }
        expect(received).toEqual(sent.map(({ body }) => body));
      }),
    );
  });

  it("looks at the bytes of a head that comes byte by byte a few times each, not each time at all of them", () => {
    const text = `GET / HTTP/1.1\r\n${HOST}X: ${"x".repeat(MAX_HEAD - 100)}\r\n\r\n`;
    const bytes = [...Buffer.from(text)].map((byte) => Buffer.of(byte));
    const read = vi.spyOn(Buffer.prototype, "toString");
    try {
      expect(summary(eventsOf(requestParser(), bytes))).toBe("GET, end");
      const looked = read.mock.results.reduce((sum, { value }) => sum + String(value).length, 0);
      expect(looked).toBeLessThan(6 * text.length);
    } finally {
      read.mockRestore();
    }
  });

  it("does not need the memory that bytes came in any more after it has kept them", () => {
    const parser = requestParser();
    const memory = Buffer.alloc(65_536);
    const text = `GET / HTTP/1.1\r\n${HOST}\r\n`;
    memory.write(text, 1000);
    parser.feed(memory, 1000, 1000 + 20);
    expect(parser.next()).toBeUndefined();
    parser.keep();
    memory.fill(0);
    parser.feed(Buffer.from(text.slice(20)));
    expect(parser.next()).toMatchObject({ kind: "head", head: { method: "GET" } });
  });

  it("nor for what comes behind a whole message", () => {
    const parser = requestParser();
    const memory = Buffer.alloc(65_536);
    const text = `GET / HTTP/1.1\r\n${HOST}\r\n`;
    memory.write(`${text}GET`);
    parser.feed(memory, 0, text.length + 3);
    expect([parser.next()?.kind, parser.next()?.kind]).toEqual(["head", "end"]);
    parser.keep();
    memory.fill(0);
    parser.feed(Buffer.from(text.slice(3)));
    expect(parser.next()).toMatchObject({ kind: "head", head: { method: "GET" } });
  });

  it("keeps no more than it was given, and says how much it has not read", () => {
    const parser = requestParser();
    parser.feed(Buffer.from(`GET / HTTP/1.1\r\n${HOST}\r\nGET /next`));
    parser.next();
    parser.next();
    expect(parser.unread()).toBe("GET /next".length);
  });
});

/** A POST with this body, in chunks of this size or, with 0, with its length. */
function framed(body: Buffer, chunk: number): Buffer {
  const head = `POST / HTTP/1.1\r\n${HOST}`;
  if (chunk === 0) return Buffer.concat([Buffer.from(`${head}Content-Length: ${body.length}\r\n\r\n`), body]);
  const chunks: Buffer[] = [Buffer.from(`${head}Transfer-Encoding: chunked\r\n\r\n`)];
  for (let at = 0; at < body.length; at += chunk) {
    const bytes = body.subarray(at, at + chunk);
    chunks.push(Buffer.from(`${bytes.length.toString(16)}\r\n`), bytes, Buffer.from("\r\n"));
  }
  return Buffer.concat([...chunks, Buffer.from("0\r\n\r\n")]);
}

describe("a head that comes again", () => {
  const [GET, POST] = [
    `GET /a HTTP/1.1\r\n${HOST}\r\n`,
    `POST /a HTTP/1.1\r\n${HOST}Content-Length: 2\r\n\r\n`,
  ];
  const headsOf = (events: MessageEvent<RequestHead | ResponseHead>[]) =>
    events.flatMap((event) => (event.kind === "head" ? [event.head] : []));

  it("is the same object as before, and another one is not", () => {
    const [first, second, other] = headsOf(request(`${GET}${GET}${GET.replace("/a", "/b")}`));
    expect(second).toBe(first);
    expect(other).toMatchObject({ path: "/b" });
  });

  it("is read anew for another method: an answer to HEAD has no body", () => {
    const parser = responseParser();
    const bytes = Buffer.from("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n");
    expect(summary(eventsOf(parser, [bytes, Buffer.from("ab")]))).toBe("200, data 2, end");
    parser.context = "HEAD";
    expect(summary(eventsOf(parser, [bytes]))).toBe("200, end");
    parser.context = "GET";
    expect(summary(eventsOf(parser, [bytes, Buffer.from("ab")]))).toBe("200, data 2, end");
  });

  it("gives the events that a parser gives which never read it before, however the bytes are cut", () => {
    const messages = [
      GET,
      `${POST}ab`,
      GET.replace("/a", "/b"),
      GET.replace("\r\n\r\n", "\r\nX: 1\r\n\r\n"),
      `POST /c HTTP/1.1\r\n${HOST}Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n`,
      "GET /a HTTP/1.1\n\n",
    ];
    const sequences = fc.array(fc.constantFrom(...messages), { maxLength: 8 });
    const cuts = fc.array(fc.integer({ min: 1, max: 60 }), { minLength: 1, maxLength: 40 });
    fc.assert(
      fc.property(sequences, cuts, (sequence, sizes) => {
        const expected: MessageEvent<RequestHead>[] = [];
        for (const message of sequence) {
          expected.push(...request(message));
          if (expected.at(-1)?.kind === "error") break;
        }
        const all = Buffer.from(sequence.join(""), "latin1");
        const parts: Buffer[] = [];
        for (let at = 0, i = 0; at < all.length; i++) {
          const size = sizes[i % sizes.length]!;
          parts.push(all.subarray(at, at + size));
          at += size;
        }
        expect(eventsOf(requestParser(), parts)).toEqual(expected);
      }),
    );
  });
});
