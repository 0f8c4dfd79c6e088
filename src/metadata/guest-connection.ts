// Imported, since the global is a getter, which is asked at every use.
import { performance } from "node:perf_hooks";
import type { TcpConnection, TcpEvents } from "../linux/tcp.ts";
import type { Deadlines, Timed } from "./deadlines.ts";
import { chunkLine, type GuestHop, guestHead, interimHead, LAST_CHUNK } from "./forward.ts";
import { createMessageParser } from "./http-parser.ts";
import { type RequestHead, readRequestHead, tooLong } from "./http-request.ts";
import { type HttpError, httpError } from "./http-syntax.ts";
import { errorResponse, localAnswer } from "./local-response.ts";
import type { Exchange, GuestSide } from "./proxy.ts";
import type { MetadataResponse } from "./types.ts";

/** Times in ms that a guest has. */
export interface GuestTimeouts {
  /** Without a request, on a connection that has had one. */
  idle: number;
  /** From the connection, or the first byte of a later head, to the head's end. */
  head: number;
  /** Without a byte of a request's body, or until a slow one is given up (see `LEAST_RATE`); until what is being written has been taken. */
  stalled: number;
}

/** What a guest's connection needs. */
export interface ConnectionOptions {
  deadlines: Deadlines;
  timeouts: GuestTimeouts;
  /** Most bytes in the body of a request that begins now. */
  maxBody(): number;
  /** Answers a request, or sends it on: `side` then hears what comes of it. `now` in ms of `performance.now()`. */
  handle(head: RequestHead, side: GuestSide, now: number): MetadataResponse | Exchange;
  /** Called once for each request when its answer has been written, or with `ABORTED`: at `now`, `ms` after its head was read. */
  answered(head: RequestHead, status: number, ms: number, now: number): void;
  /** Called for what could not be read as a request. */
  refused(error: HttpError): void;
  /** The connection is gone; called once. */
  closed(): void;
}

/** What is to hear of a guest's connection. */
export interface GuestEvents extends TcpEvents {
  /**
   * In ms of `performance.now()`: since when nothing is asked on the connection, to choose whom to close. One whose guest does not take its answer comes after all that
   * are idle. Undefined while a request is being served.
   */
  idleSince(): number | undefined;
}

/** The status of a request whose guest went away before the answer was complete, as nginx logs it. */
export const ABORTED = 499;

/**
 * Of a body, in bytes a millisecond: a guest that sends fewer uses up its time, which grows by what comes, and never to more than `stalled`. So a guest that sends
 * byte by byte does not keep an upstream's connection.
 */
const LEAST_RATE = 1;

/** Most bytes in the head of a request. */
export const MAX_REQUEST_HEAD = 16_384;
/**
 * A connection takes so many steps before others have their turn: what a guest sends at once may be thousands of requests, or of pieces of a body. A piece
 * is one step, a request with all that follows at once is more.
 */
const STEPS_A_TURN = 256;
const STEPS_OF_REQUEST = 16;
/** Received and not read yet: from so many bytes on the socket waits. */
const MAX_UNREAD = 65_536;
/**
 * For so many ms after the last answer, what the guest still sends is taken and dropped: closing at once could reset the connection before the
 * answer has been read (RFC 9112 s. 9.6).
 */
const LINGER = 2000;
/** Of what is dropped then, most bytes; the rest stays in the socket. */
const MAX_DROPPED = 4_194_304;

/** A request that is being served. */
interface Serving extends GuestHop {
  head: RequestHead;
  since: number;
  exchange: Exchange | undefined;
  body: "not yet" | "wanted" | "blocked" | "complete";
  bodyBytes: number;
  maxBody: number;
  /** Of the answer, once it has begun. */
  status: number | undefined;
  chunked: boolean;
}

/** What a connection waits for; "nobody" where it is not the guest's turn. */
type Wait = "head" | "idle" | "body" | "stalled" | "linger" | "nobody";

function timeOf(what: Wait, { head, idle, stalled }: GuestTimeouts): number {
  switch (what) {
    case "head":
      return head;
    case "idle":
      return idle;
    case "body":
    case "stalled":
      return stalled;
    case "linger":
      return LINGER;
    case "nobody":
      return Number.POSITIVE_INFINITY;
  }
}

/** Serves the requests of one connection one after the other; those that wait do so in the socket. Gives what is to hear of the connection. */
export function serveGuest(connection: TcpConnection, options: ConnectionOptions): GuestEvents {
  const { deadlines, timeouts, maxBody, handle, answered, refused, closed } = options;
  const parser = createMessageParser({ readHead: readRequestHead, maxHead: MAX_REQUEST_HEAD, tooLong });
  let waitingFor: Wait = "head";
  let serving: Serving | undefined;
  let open = true;
  let proceeding = false;
  /** Set while it is the turn of others. */
  let later: NodeJS.Immediate | undefined;
  let peerEnded = false;
  let paused = false;
  let dropped = 0;

  const timed: Timed = { deadline: deadlines.after(timeouts.head), expire };

  /** Sets the deadline, unless the same thing has been waited for all the time. */
  function waitFor(what: Wait): void {
    if (what === waitingFor) return;
    waitingFor = what;
    timed.deadline = deadlines.after(timeOf(what, timeouts));
  }

  function expire(): void {
    if (waitingFor === "body") giveUp(httpError("the body came too slowly", 408));
    else if (waitingFor === "head" && parser.unread() > 0) refuse(httpError("the head came too slowly", 408));
    else cut();
  }

  /** Closes it at once, and so that an answer which is not complete is not taken for whole, where its end is that of the connection. */
  function cut(): void {
    if (serving?.status !== undefined) connection.abort();
    else connection.destroy();
  }

  /**
   * The guest sends nothing more. Nobody reads an answer any more: hardly a client ends its own side alone, and one that gave up must not keep an upstream busy. What
   * waits only for its turn, or for the guest to take the answers before it, is served.
   */
  function end(): void {
    const isOnlyWaiting = later !== undefined || (serving === undefined && connection.isBlocked());
    if (!isOnlyWaiting) cut();
  }

  function drop(count: number): void {
    dropped += count;
    if (dropped > MAX_DROPPED) connection.setReading(false);
  }

  /** Reads on as far as it may, and no further. */
  function proceed(): void {
    if (proceeding) return;
    proceeding = true;
    let steps = later === undefined ? STEPS_A_TURN : 0;
    while (open && !connection.isBlocked() && isReading()) {
      if (steps <= 0) {
        later ??= setImmediate(goOn);
        break;
      }
      const event = parser.next();
      if (event === undefined) break;
      steps -= event.kind === "head" ? STEPS_OF_REQUEST : 1;
      if (event.kind === "head") begin(event.head);
      else if (event.kind === "data") passBody(event.bytes);
      else if (event.kind === "error") refuse(event.error);
      else if (serving !== undefined) endBody(serving);
    }
    proceeding = false;
    if (!open) return;
    if (serving?.body === "wanted" && serving.exchange?.flush() === false) serving.body = "blocked";
    if (connection.isBlocked()) waitFor("stalled");
    else if (serving === undefined) waitFor(parser.unread() > 0 || waitingFor === "head" ? "head" : "idle");
    else waitFor(serving.body === "wanted" ? "body" : "nobody");
    const pause = parser.unread() > MAX_UNREAD;
    if (pause === paused) return;
    paused = pause;
    connection.setReading(!pause);
  }
  function goOn(): void {
    later = undefined;
    proceed();
    if (peerEnded) end();
  }
  function isReading(): boolean {
    return serving === undefined || serving.body === "wanted";
  }

  function begin(head: RequestHead): void {
    const { version, method, body } = head;
    // The end of a body that is not there.
    if (body === 0) parser.next();
    serving = {
      head,
      version,
      method,
      keepAlive: head.keepAlive,
      since: performance.now(),
      exchange: undefined,
      body: body === 0 ? "complete" : "not yet",
      bodyBytes: 0,
      maxBody: body === 0 ? 0 : maxBody(),
      status: undefined,
      chunked: false,
    };
    waitingFor = "nobody";
    timed.deadline = Number.POSITIVE_INFINITY;
    if (typeof body === "number" && body > serving.maxBody) side.fail(tooLarge(serving.maxBody));
    else serve(serving);
  }

  function serve(request: Serving): void {
    const result = handle(request.head, side, request.since);
    if ("status" in result) answer(result);
    // An exchange may have failed at once.
    if ("status" in result || serving !== request) return;
    request.exchange = result;
    if (request.body === "complete") result.bodyEnd();
  }

  function passBody(bytes: Buffer): void {
    if (serving === undefined) return;
    serving.bodyBytes += bytes.length;
    timed.deadline = Math.min(timed.deadline + bytes.length / LEAST_RATE, deadlines.after(timeouts.stalled));
    if (serving.bodyBytes > serving.maxBody) giveUp(tooLarge(serving.maxBody));
    else if (serving.exchange?.body(bytes) === false) serving.body = "blocked";
  }

  function endBody(now: Serving): void {
    now.body = "complete";
    now.exchange?.bodyEnd();
  }

  /** An answer of our own. */
  function answer(response: MetadataResponse): void {
    if (serving === undefined) return;
    serving.keepAlive &&= serving.body === "complete";
    serving.status = response.status;
    const { head, body } = localAnswer(response, serving);
    connection.write(head);
    connection.write(body);
    finish();
  }

  /** What cannot be read is answered, and the connection closed. */
  function refuse(error: HttpError): void {
    if (serving !== undefined) {
      giveUp(error);
      return;
    }
    refused(error);
    const hop = { version: "1.1", method: "GET", keepAlive: false } as const;
    const { head, body } = localAnswer(errorResponse(error), hop);
    connection.write(`${head}${body}`);
    linger();
  }

  /** Ends a request whose body does not come as it should. */
  function giveUp(error: HttpError): void {
    serving?.exchange?.abort();
    side.fail(error);
  }

  function finish(): void {
    if (serving === undefined) return;
    const { keepAlive, status } = serving;
    done(status!);
    if (keepAlive) proceed();
    else linger();
  }
  /** Accounts for the request that is being served. */
  function done(status: number): void {
    const { head, since } = serving!;
    serving = undefined;
    const now = performance.now();
    answered(head, status, now - since, now);
  }

  function linger(): void {
    if (!open) return;
    open = false;
    connection.end();
    // A slow guest has as long for the rest of the answer as for any other part of it.
    waitFor(connection.isBlocked() ? "stalled" : "linger");
    connection.setReading(true);
  }

  const side: GuestSide = {
    takeBody() {
      if (serving?.body !== "not yet") return;
      serving.body = "wanted";
      proceed();
    },
    takeMore() {
      if (serving?.body !== "blocked") return;
      serving.body = "wanted";
      proceed();
    },
    interim(head) {
      // They may be left out (RFC 9110 s. 15.2), and are where the guest is too slow to take them.
      if (serving?.version === "1.1" && !connection.isBlocked()) connection.write(interimHead(head));
    },
    respond(head) {
      if (serving === undefined) return;
      serving.keepAlive &&=
        serving.body === "complete" && (head.body !== "until-close" || serving.version === "1.1");
      const { bytes, chunked } = guestHead(head, serving);
      serving.status = head.status;
      serving.chunked = chunked;
      connection.write(bytes);
    },
    data(bytes) {
      const isChunked = serving?.chunked === true;
      if (isChunked) connection.write(chunkLine(bytes.length));
      connection.write(bytes);
      if (isChunked) connection.write("\r\n");
      if (!connection.isBlocked()) return true;
      waitFor("stalled");
      return false;
    },
    end() {
      if (serving?.chunked === true) connection.write(LAST_CHUNK);
      finish();
    },
    fail(error) {
      if (serving?.status === undefined) answer(errorResponse(error));
      else connection.abort();
    },
  };

  deadlines.add(timed);
  return {
    idleSince() {
      if (waitingFor === "stalled") return timed.deadline;
      return serving === undefined ? timed.deadline - timeOf(waitingFor, timeouts) : undefined;
    },
    data(memory, from, to) {
      if (!open) return drop(to - from);
      parser.feed(memory, from, to);
      proceed();
      parser.keep();
    },
    drained() {
      serving?.exchange?.resume();
      if (open) proceed();
      if (peerEnded) end();
    },
    ended() {
      peerEnded = true;
      end();
    },
    closed() {
      open = false;
      deadlines.remove(timed);
      serving?.exchange?.abort();
      if (serving !== undefined) done(ABORTED);
      closed();
    },
  };
}

function tooLarge(maxBody: number): HttpError {
  return httpError(`a body of more than ${maxBody} bytes`, 413);
}
