import {
  type BodyFraming,
  type HttpError,
  hasForbidden,
  httpError,
  latin1Bytes,
  readFields,
} from "./http-syntax.ts";

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
  /** Takes more bytes: those of `memory` from `from` up to `to`, all unless given. They are read where they are; what is left of them before the memory is used again must be kept. */
  feed(memory: Buffer, from?: number, to?: number): void;
  /** Copies what has not been read of the memory that it was fed from. */
  keep(): void;
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
  /** Whether `bytes` is memory that is not the parser's own. */
  let borrowed = false;
  /** Where reading goes on in `bytes`, where it ends, and up to where the end of a head or line has been looked for in vain. */
  let at = 0;
  let end = 0;
  let searched = 0;
  /** Bytes to come of the body or the chunk. */
  let left = 0;
  let trailerBytes = 0;
  /** The last head that was short enough. */
  let kept: { bytes: Uint8Array; context: string; event: HeadEvent<Head> } | undefined;

  function fail(error: HttpError): MessageEvent<Head> {
    failure = { kind: "error", error };
    bytes = EMPTY;
    at = 0;
    end = 0;
    return failure;
  }

  /**
   * The text up to and with `mark`, of at most `most` bytes; undefined when it takes more bytes. The text of an error depends on
   * the bytes alone, not on how they were cut: of two faults, forbidden characters come first.
   */
  function readThrough(mark: string, most: number, tooLong: (text: string) => HttpError): string | undefined {
    if (bytes.length > end) bytes = bytes.subarray(0, end);
    const found = bytes.indexOf(mark, Math.max(at, searched - mark.length + 1), "latin1");
    const after = found < 0 ? end : found + mark.length;
    if (found < 0 || after - at > most) {
      const stop = Math.min(after, at + most);
      // The last CR may be half of a line end.
      const whole = bytes[stop - 1] === CR ? stop - 1 : stop;
      // What was looked at before is not looked at again, however few bytes come at a time; but a LF needs the CR before it.
      const from = Math.max(at, bytes[searched - 1] === CR ? searched - 1 : searched);
      if (hasForbidden(bytes.toString("latin1", from, whole)))
        fail(httpError("a forbidden character or line end"));
      else if (after - at >= most) fail(tooLong(bytes.toString("latin1", at, stop)));
      else searched = end;
      return undefined;
    }
    const text = bytes.toString("latin1", at, after);
    at = after;
    searched = after;
    if (!hasForbidden(text)) return text;
    fail(httpError("a forbidden character or line end"));
    return undefined;
  }

  function keep(): void {
    const rest = end - at;
    const own = rest === 0 ? EMPTY : Buffer.allocUnsafeSlow(rest);
    if (rest > 0) bytes.copy(own, 0, at, end);
    bytes = own;
    borrowed = false;
    searched = Math.max(0, searched - at);
    at = 0;
    end = rest;
  }

  /** A few bytes that wait for more, or none, must not keep the memory of all that came with them. */
  function keepLittle(): void {
    if (!borrowed && end > 0 && 4 * (end - at) <= end) keep();
  }

  /** The head that was read last, when the same bytes are there again to be read in the same way. */
  function readKept(): HeadEvent<Head> | undefined {
    if (kept === undefined || kept.context !== parser.context) return undefined;
    const { length } = kept.bytes;
    if (length > end - at || bytes.compare(kept.bytes, 0, length, at, at + length) !== 0) return undefined;
    at += length;
    searched = at;
    return kept.event;
  }

  function readHead(): MessageEvent<Head> | undefined {
    if (at === end) return undefined;
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
    kept = text.length <= MAX_KEPT_HEAD ? { bytes: latin1Bytes(text), context, event } : undefined;
    return event;
  }

  /** Bytes of the body, at most those that are left of it; undefined when there are none yet. */
  function readData(): MessageEvent<Head> | undefined {
    const count = Math.min(left, end - at);
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
        const data = bytes.subarray(at, end);
        at = end;
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
    feed(memory, from = 0, to = memory.length) {
      if (failure !== undefined) return;
      if (at === end) {
        bytes = memory;
        at = from;
        end = to;
        searched = from;
        borrowed = true;
        return;
      }
      bytes = Buffer.concat([bytes.subarray(at, end), memory.subarray(from, to)]);
      borrowed = false;
      searched = Math.max(0, searched - at);
      at = 0;
      end = bytes.length;
    },
    keep() {
      if (borrowed) keep();
    },
    next() {
      if (failure !== undefined) return failure;
      for (;;) {
        const before = state;
        const from = at;
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
      if (state === "head" && at === end) return undefined;
      return fail(httpError("the connection was closed within a message"));
    },
    unread: () => end - at,
  };
  return parser;
}
