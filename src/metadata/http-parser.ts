import { type BodyFraming, type HttpError, hasForbidden, httpError, readFields } from "./http-syntax.ts";

/** What the bytes of a connection mean, in order: for each message its head, the body's bytes without their framing, and its end. */
export type MessageEvent<Head> =
  | HeadEvent<Head>
  | { kind: "data"; bytes: Buffer }
  | { kind: "end" }
  /** Nothing can be read after it: where the next message begins is not known. */
  | { kind: "error"; error: HttpError };

interface HeadEvent<Head> {
  kind: "head";
  /** The same object as before where the same bytes are read in the same way again; it is not to be changed. */
  head: Head;
}

/**
 * Reads messages off a connection, however its bytes are cut. It is asked for one event after the other, so who asks decides how far it
 * reads: what is not asked for stays as it came.
 */
export interface MessageParser<Head> {
  /** Takes more bytes. They are kept, not copied, until they have been read. */
  feed(bytes: Buffer): void;
  /** The next event; undefined when it takes more bytes. */
  next(): MessageEvent<Head> | undefined;
  /** The peer sends nothing more: the event that this means for what is being read; undefined between two messages. */
  finish(): MessageEvent<Head> | undefined;
  /** Bytes that came and have not been read. */
  unread(): number;
  /** Told to `readHead`: for answers, the method of the request that is to be answered. Empty at first. */
  context: string;
}

/** How messages of one kind are read. */
export interface MessageKind<Head extends { body: BodyFraming }> {
  /** Takes a head's text with its empty line, free of forbidden characters. What it gives depends on the text and on `context` alone. */
  readHead(text: string, context: string): Head | HttpError;
  /** Most bytes in a head. */
  maxHead: number;
  /** What a head is refused with that has more; `text` is its beginning. */
  tooLong(text: string): HttpError;
}

/** Longest line with the size of a chunk, extensions and CRLF included; extensions are dropped. */
const MAX_CHUNK_LINE = 256;
/** Most bytes of trailer fields, which are dropped. */
const MAX_TRAILERS = 8192;
const CHUNK_LINE = /^([\da-f]{1,12})[\t ]*(?:;[\t\x20-\x7e\x80-\xff]*)?$/i;

/** A head of at most so many bytes is kept with what was read in it: clients repeat themselves, and so do those who answer them. */
const MAX_KEPT_HEAD = 1024;

const NOTHING = Buffer.alloc(0);
const CR = 0x0d;
const EMPTY = Buffer.alloc(0);
const END = { kind: "end" } as const;

/** What is read next. `data`, `chunk-data` and `until-close` are within a body. */
type State = "head" | "data" | "chunk-line" | "chunk-data" | "chunk-end" | "trailers" | "until-close" | "end";

/** See `MessageParser`. */
export function createMessageParser<Head extends { body: BodyFraming }>(
  kind: MessageKind<Head>,
): MessageParser<Head> {
  let state: State = "head";
  let failure: { kind: "error"; error: HttpError } | undefined;
  let bytes: Buffer = EMPTY;
  /** Where reading goes on in `bytes`, and up to where the end of a head or line has been looked for in vain. */
  let at = 0;
  let searched = 0;
  /** Bytes to come of the body or the chunk. */
  let left = 0;
  let trailerBytes = 0;
  /** The last head that was short enough. */
  let kept: { text: string; context: string; event: HeadEvent<Head> } | undefined;

  function fail(error: HttpError): MessageEvent<Head> {
    failure = { kind: "error", error };
    bytes = EMPTY;
    at = 0;
    return failure;
  }

  /**
   * The text up to and with `mark`, of at most `most` bytes; undefined when it takes more bytes. The text of an error depends on
   * the bytes alone, not on how they were cut: of two faults, forbidden characters come first.
   */
  function readThrough(mark: string, most: number, tooLong: (text: string) => HttpError): string | undefined {
    const found = bytes.indexOf(mark, Math.max(at, searched - mark.length + 1), "latin1");
    const end = found < 0 ? bytes.length : found + mark.length;
    if (found < 0 || end - at > most) {
      const stop = Math.min(end, at + most);
      // The last CR may be half of a line end.
      const whole = bytes[stop - 1] === CR ? stop - 1 : stop;
      // What was looked at before is not looked at again, however few bytes come at a time; but a LF needs the CR before it.
      const from = Math.max(at, bytes[searched - 1] === CR ? searched - 1 : searched);
      if (hasForbidden(bytes.toString("latin1", from, whole)))
        fail(httpError("a forbidden character or line end"));
      else if (end - at >= most) fail(tooLong(bytes.toString("latin1", at, stop)));
      else searched = bytes.length;
      return undefined;
    }
    const text = bytes.toString("latin1", at, end);
    at = end;
    searched = end;
    if (!hasForbidden(text)) return text;
    fail(httpError("a forbidden character or line end"));
    return undefined;
  }

  /** A few bytes that wait for more, or none, must not keep the memory of all that came with them, which may be what other connections received. */
  function keepLittle(): void {
    const rest = bytes.length - at;
    if (4 * rest > bytes.buffer.byteLength) return;
    const own = rest === 0 ? NOTHING : Buffer.allocUnsafeSlow(rest);
    bytes.copy(own, 0, at);
    bytes = own;
    searched = Math.max(0, searched - at);
    at = 0;
  }

  /** The head that was read last, when the same bytes are there again to be read in the same way. */
  function readKept(): HeadEvent<Head> | undefined {
    if (kept === undefined || kept.context !== parser.context) return undefined;
    const end = at + kept.text.length;
    if (end > bytes.length || bytes.toString("latin1", at, end) !== kept.text) return undefined;
    at = end;
    searched = end;
    return kept.event;
  }

  function readHead(): MessageEvent<Head> | undefined {
    if (at === bytes.length) return undefined;
    const event = readKept() ?? readNew();
    if (event?.kind !== "head") return event;
    const { head } = event;
    if (head.body === "chunked") state = "chunk-line";
    else if (head.body === "until-close") state = "until-close";
    else {
      left = head.body;
      state = left === 0 ? "end" : "data";
    }
    return event;
  }
  function readNew(): MessageEvent<Head> | undefined {
    const text = readThrough("\r\n\r\n", kind.maxHead, kind.tooLong);
    if (text === undefined) return failure;
    const { context } = parser;
    const head = kind.readHead(text, context);
    if ("reason" in head) return fail(head);
    const event = { kind: "head", head } as const;
    kept = text.length <= MAX_KEPT_HEAD ? { text, context, event } : undefined;
    return event;
  }

  /** Bytes of the body, at most those that are left of it; undefined when there are none yet. */
  function readData(): MessageEvent<Head> | undefined {
    const count = Math.min(left, bytes.length - at);
    if (count === 0) return undefined;
    const data = bytes.subarray(at, at + count);
    at += count;
    left -= count;
    if (left === 0) state = state === "data" ? "end" : "chunk-end";
    return { kind: "data", bytes: data };
  }

  function readChunkLine(): MessageEvent<Head> | undefined {
    const tooLong = () => httpError("a chunk's line of too many bytes");
    const line = readThrough("\r\n", MAX_CHUNK_LINE, tooLong);
    if (line === undefined) return failure;
    const [, size] = CHUNK_LINE.exec(line.slice(0, -2)) ?? [];
    if (size === undefined) return fail(httpError("a chunk without a size"));
    left = Number.parseInt(size, 16);
    state = left === 0 ? "trailers" : "chunk-data";
    trailerBytes = 0;
    return undefined;
  }

  function readChunkEnd(): MessageEvent<Head> | undefined {
    const tooLong = () => httpError("a chunk that does not end where it should");
    const line = readThrough("\r\n", 2, tooLong);
    if (line === undefined) return failure;
    state = "chunk-line";
    return undefined;
  }

  /** Trailer fields up to an empty line: checked and dropped. */
  function readTrailers(): MessageEvent<Head> | undefined {
    const tooLong = () => httpError("trailers of too many bytes", 431);
    const line = readThrough("\r\n", MAX_TRAILERS - trailerBytes, tooLong);
    if (line === undefined) return failure;
    if (line === "\r\n") {
      state = "end";
      return undefined;
    }
    const fields = readFields(line, 0, line.length);
    if (!Array.isArray(fields)) return fail(fields);
    trailerBytes += line.length;
    return undefined;
  }

  function step(): MessageEvent<Head> | undefined {
    switch (state) {
      case "head":
        return readHead();
      case "data":
      case "chunk-data":
        return readData();
      case "chunk-line":
        return readChunkLine();
      case "chunk-end":
        return readChunkEnd();
      case "trailers":
        return readTrailers();
      case "until-close": {
        const data = bytes.subarray(at);
        at = bytes.length;
        return data.length === 0 ? undefined : { kind: "data", bytes: data };
      }
      case "end":
        state = "head";
        // Nobody may ask for the next message for long.
        keepLittle();
        return END;
    }
  }

  const parser: MessageParser<Head> = {
    context: "",
    feed(more) {
      if (failure !== undefined) return;
      bytes = at === bytes.length ? more : Buffer.concat([bytes.subarray(at), more]);
      searched = Math.max(0, searched - at);
      at = 0;
    },
    next() {
      if (failure !== undefined) return failure;
      for (;;) {
        const [before, from] = [state, at];
        const event = step();
        if (event !== undefined) return event;
        // Nothing was read: it takes more bytes.
        if (state === before && at === from) {
          keepLittle();
          return undefined;
        }
      }
    },
    finish() {
      if (state === "until-close") {
        state = "head";
        return END;
      }
      if (failure !== undefined) return failure;
      if (state === "head" && at === bytes.length) return undefined;
      return fail(httpError("the connection was closed within a message"));
    },
    unread: () => bytes.length - at,
  };
  return parser;
}
