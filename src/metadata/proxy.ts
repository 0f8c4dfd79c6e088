import { chunkLine, LAST_CHUNK, upstreamHead } from "./forward.ts";
import type { RequestHead } from "./http-request.ts";
import type { ResponseHead } from "./http-response.ts";
import { type HttpError, httpError } from "./http-syntax.ts";
import type { AcquireFailure, Upstream } from "./upstream.ts";
import type { ConnectionUser, UpstreamConnection } from "./upstream-connection.ts";

/** The guest's side of an exchange, as the exchange sees it. Nothing is called after `end` or `fail`. */
export interface GuestSide {
  /** The upstream is there: the body of the request may come. */
  takeBody(): void;
  /** More of the request's body may come, after `body` said no. */
  takeMore(): void;
  /** A 1xx response; the final one follows. */
  interim(head: ResponseHead): void;
  respond(head: ResponseHead): void;
  /** Bytes of the answer's body; false: wait for `resume`. */
  data(bytes: Buffer): boolean;
  /** Nothing more comes just now: what was kept to be written together is to be written. */
  flush(): void;
  end(): void;
  /** There is no answer, or no more of it. */
  fail(error: HttpError): void;
}

/** A request on its way to an upstream, and its answer on the way back. */
export interface Exchange {
  /** Bytes of the request's body; false: wait for `takeMore`. */
  body(bytes: Buffer): boolean;
  /** No more of the body comes just now: what was kept to be written together is to be written. Returns as `body` does. */
  flush(): boolean;
  bodyEnd(): void;
  /** The guest takes more of the answer. */
  resume(): void;
  /** The guest is gone. */
  abort(): void;
}

/** What an exchange needs beside the request. */
export interface ExchangeOptions {
  /** In the order in which they are to be tried. */
  upstreams: readonly Upstream[];
  /** Lines of the head that say who asks. */
  identity: string;
  timeouts: UpstreamTimeouts;
}

/** Times in ms after which an upstream is given up. */
export interface UpstreamTimeouts {
  /** From the end of the request to the first byte of the answer. */
  firstByte: number;
  /** Without a byte within a request or an answer. */
  idle: number;
}

/** Most interim responses to one request: each of them starts the wait for the next byte anew, and is kept for a guest that does not read. */
const MAX_INTERIM = 16;

/** From so many characters on, chunks do not wait for more. */
const MAX_TOGETHER = 16_384;

const FAILURES: Readonly<Record<AcquireFailure, HttpError>> = {
  unreachable: httpError("the upstream cannot be reached", 502),
  timeout: httpError("the upstream does not answer in time", 504),
  full: httpError("too many requests to the upstream", 503),
};

/**
 * Sends a request to the first of the upstreams that can be reached, and its answer to the guest; bodies stream both ways. A request that can be
 * repeated (RFC 9110 s. 9.2.2), and has no body, goes over a connection that was used before, and once more over a new one when that turns out to be
 * closed; any other goes over a new one.
 */
export function startExchange(head: RequestHead, guest: GuestSide, options: ExchangeOptions): Exchange {
  const { upstreams, identity, timeouts } = options;
  const canRepeat = head.body === 0 && head.method !== "POST";
  let tried = 0;
  let upstream: Upstream | undefined;
  let connection: UpstreamConnection | undefined;
  let withdraw = () => {};
  let requestSent = false;
  /** Chunks of the body that are written with what follows them: a guest may send one for each byte. */
  let pending = "";
  let over = false;

  function connect(fresh: boolean): void {
    upstream = upstreams[tried];
    if (upstream === undefined) fail(FAILURES.unreachable);
    else withdraw = upstream.acquire({ connected: send, failed: tryNext }, fresh);
  }

  function tryNext(failure: AcquireFailure): void {
    if (over) return;
    tried += 1;
    if (failure === "full" || tried >= upstreams.length) fail(FAILURES[failure]);
    else connect(!canRepeat);
  }

  function send(lent: UpstreamConnection): void {
    connection = lent;
    lent.method = head.method;
    lent.user = answerReader(lent);
    lent.write(upstreamHead(head, upstream!.name, identity));
    if (requestSent) lent.setTimeout(timeouts.firstByte);
    else guest.takeBody();
  }

  /** Hears of the connection for as long as the exchange has it. */
  function answerReader(lent: UpstreamConnection): ConnectionUser {
    const parser = lent.answers;
    let answer: ResponseHead | undefined;
    let heard = false;
    let interims = 0;

    function read(): void {
      while (!over) {
        const event = parser.next();
        if (event === undefined) {
          guest.flush();
          return;
        }
        if (event.kind === "error") fail(httpError(`the upstream's answer has ${event.error.reason}`, 502));
        else if (event.kind === "head") readHead(event.head);
        else if (event.kind === "end") readEnd();
        else if (!guest.data(event.bytes)) pause();
      }
    }
    function readHead(head: ResponseHead): void {
      if (head.status === 101) fail(httpError("the upstream changed the protocol", 502));
      else if (head.status < 200) {
        interims += 1;
        if (interims <= MAX_INTERIM) guest.interim(head);
        else fail(httpError("the upstream sent one interim response after the other", 502));
      } else {
        answer = head;
        guest.respond(head);
      }
    }
    /** The end of an interim response is not yet that of the answer. */
    function readEnd(): void {
      if (answer !== undefined) finish(answer);
    }
    /** The guest is slow, which is its own affair and not the upstream's. */
    function pause(): void {
      lent.pause();
      lent.setTimeout(Number.POSITIVE_INFINITY);
    }
    /** What follows an answer was not asked for: such a connection is not used again. */
    function finish({ keepAlive }: ResponseHead): void {
      over = true;
      connection = undefined;
      if (keepAlive && requestSent && parser.unread() === 0) upstream!.release(lent);
      else upstream!.discard(lent);
      guest.end();
    }
    return {
      data(bytes) {
        heard = true;
        lent.setTimeout(timeouts.idle);
        parser.feed(bytes);
        read();
      },
      drained() {
        if (!requestSent) lent.setTimeout(Number.POSITIVE_INFINITY);
        guest.takeMore();
      },
      ended() {
        const event = parser.finish();
        if (event?.kind === "end" && answer !== undefined) return finish(answer);
        upstream!.discard(lent);
        connection = undefined;
        if (!heard && canRepeat && lent.uses > 1) return connect(true);
        fail(httpError("the upstream closed the connection before its answer was complete", 502));
      },
      expired: () => fail(FAILURES.timeout),
    };
  }

  function fail(error: HttpError): void {
    if (over) return;
    leave();
    guest.fail(error);
  }
  function leave(): void {
    over = true;
    withdraw();
    if (connection !== undefined) upstream!.discard(connection);
    connection = undefined;
  }

  function write(data: string | Uint8Array): boolean {
    const takesMore = connection?.write(data) !== false;
    if (!takesMore) connection?.setTimeout(timeouts.idle);
    return takesMore;
  }
  function flush(): boolean {
    const text = pending;
    pending = "";
    return text === "" || write(text);
  }

  const exchange: Exchange = {
    body(bytes) {
      if (connection === undefined) return true;
      if (head.body !== "chunked") return write(bytes);
      pending += `${chunkLine(bytes.length)}${bytes.toString("latin1")}\r\n`;
      return pending.length < MAX_TOGETHER || flush();
    },
    flush,
    bodyEnd() {
      requestSent = true;
      if (connection === undefined) return;
      if (head.body === "chunked") pending += LAST_CHUNK;
      flush();
      connection.setTimeout(timeouts.firstByte);
    },
    resume() {
      connection?.resume();
      connection?.setTimeout(timeouts.idle);
    },
    abort: leave,
  };
  connect(!canRepeat);
  return exchange;
}
