import { chunkLine, LAST_CHUNK, upstreamHead } from "./forward.ts";
import type { RequestHead } from "./http-request.ts";
import type { ResponseHead } from "./http-response.ts";
import { type HttpError, httpError } from "./http-syntax.ts";
import type { AcquireFailure, Upstream, Waiter } from "./upstream.ts";
import type { Borrower, ConnectionUser, UpstreamConnection } from "./upstream-connection.ts";

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
  /** Who asks. */
  borrower: Borrower;
}

/** What an exchange needs now that the settings have changed; an error where there is no way any more. */
export type Reroute = () => ExchangeOptions | HttpError;

/** Times in ms after which an upstream is given up. */
export interface UpstreamTimeouts {
  /** From the end of the request to the first byte of the answer. */
  firstByte: number;
  /** Without a byte within a request or an answer. */
  idle: number;
}

/** Most interim responses to one request: each of them starts the wait for the next byte anew, and is kept for a guest that does not read. */
const MAX_INTERIM = 16;

/** Of a body, in bytes a millisecond: a guest that sends as much is not slow. */
const EASY_RATE = 64;

/** From so many characters on, chunks do not wait for more. */
const MAX_TOGETHER = 16_384;

const FAILURES: Readonly<Record<Exclude<AcquireFailure, "closed"> | "slowGuest", HttpError>> = {
  unreachable: httpError("the upstream cannot be reached", 502),
  timeout: httpError("the upstream does not answer in time", 504),
  full: httpError("too many requests to the upstream", 503),
  slowGuest: httpError("the request came too slowly while others waited", 408),
};

/**
 * Sends a request to the first of the upstreams that can be reached, and its answer to the guest; bodies stream both ways. A request that can be
 * repeated (RFC 9110 s. 9.2.2), and has no body, goes over a connection that was used before, and once more over a new one when that turns out to be
 * closed; any other goes over a new one. One that waits for a connection when its upstream is closed is told by `reroute` how to go on.
 */
export function startExchange(
  head: RequestHead,
  guest: GuestSide,
  options: ExchangeOptions,
  reroute: Reroute,
): Exchange {
  const exchange = new UpstreamExchange(head, guest, options, reroute);
  exchange.connect(!exchange.canRepeat);
  return exchange;
}

/** A class, since there is one for every request: twenty closures for each cost more time than all that they do. */
class UpstreamExchange implements Exchange, Waiter, ConnectionUser {
  readonly canRepeat: boolean;
  private readonly head: RequestHead;
  private readonly guest: GuestSide;
  private options: ExchangeOptions;
  private readonly newOptions: Reroute;
  private tried = 0;
  private upstream: Upstream | undefined;
  private connection: UpstreamConnection | undefined;
  private withdraw: (() => void) | undefined;
  private requestSent = false;
  /** Chunks of the body that are written with what follows them: a guest may send one for each byte. */
  private pending = "";
  private answer: ResponseHead | undefined;
  private interims = 0;
  /** Whether anything came over the connection. */
  private heard = false;
  private over = false;
  /** Whether the upstream's connection is not read, since the guest has not taken what came. */
  private paused = false;

  constructor(head: RequestHead, guest: GuestSide, options: ExchangeOptions, newOptions: Reroute) {
    this.head = head;
    this.guest = guest;
    this.options = options;
    this.newOptions = newOptions;
    this.canRepeat = head.body === 0 && head.method !== "POST";
  }

  get borrower(): Borrower {
    return this.options.borrower;
  }

  connect(fresh: boolean): void {
    const upstream = this.options.upstreams[this.tried];
    this.upstream = upstream;
    if (upstream === undefined) {
      this.fail(FAILURES.unreachable);
      return;
    }
    const withdraw = upstream.acquire(this, fresh);
    // One of former settings says so at once: then another is being asked by now.
    if (this.upstream === upstream) this.withdraw = withdraw;
  }

  failed(failure: AcquireFailure): void {
    if (this.over) return;
    if (failure === "closed") {
      this.reroute();
      return;
    }
    this.tried += 1;
    if (failure === "full" || this.tried >= this.options.upstreams.length) this.fail(FAILURES[failure]);
    else this.connect(!this.canRepeat);
  }

  /** What has not been sent goes by the settings of now: to their upstreams, signed with their secret. */
  private reroute(): void {
    const next = this.newOptions();
    if ("reason" in next) {
      this.fail(next);
      return;
    }
    this.options = next;
    this.tried = 0;
    this.connect(!this.canRepeat);
  }

  connected(lent: UpstreamConnection): void {
    const { head, upstream, options } = this;
    this.connection = lent;
    lent.answers.context = head.method;
    lent.user = this;
    if (head.body !== 0) lent.slowSince = performance.now();
    lent.write(upstreamHead(head, upstream!.name, options.identity));
    if (this.requestSent) lent.setTimeout(options.timeouts.firstByte);
    else this.guest.takeBody();
  }

  data(memory: Buffer, from: number, to: number): void {
    const lent = this.connection!;
    this.heard = true;
    lent.setTimeout(this.options.timeouts.idle);
    lent.answers.feed(memory, from, to);
    while (!this.over) {
      const event = lent.answers.next();
      if (event === undefined) break;
      if (event.kind === "error") {
        this.fail(httpError(`the upstream's answer has ${event.error.reason}`, 502));
      } else if (event.kind === "head") this.readHead(event.head);
      // The end of an interim response is not yet that of the answer.
      else if (event.kind === "end") this.finish(lent);
      else if (!this.guest.data(event.bytes)) this.pause(lent);
    }
    lent.answers.keep();
  }

  private readHead(head: ResponseHead): void {
    if (head.status === 101) this.fail(httpError("the upstream changed the protocol", 502));
    else if (head.status < 200) {
      this.interims += 1;
      if (this.interims <= MAX_INTERIM) this.guest.interim(head);
      else this.fail(httpError("the upstream sent one interim response after the other", 502));
    } else {
      this.answer = head;
      this.guest.respond(head);
    }
  }

  /** At the end of a response, which is that of the answer unless that was an interim one. What follows an answer was not asked for: such a connection is not used again. */
  private finish(lent: UpstreamConnection): void {
    if (this.answer === undefined) return;
    this.over = true;
    this.connection = undefined;
    if (this.answer.keepAlive && this.requestSent && lent.answers.unread() === 0)
      this.upstream!.release(lent);
    else this.upstream!.discard(lent);
    this.guest.end();
  }

  drained(): void {
    const { connection } = this;
    if (!this.requestSent && connection !== undefined) {
      connection.setTimeout(Number.POSITIVE_INFINITY);
      connection.slowSince = performance.now();
    }
    this.guest.takeMore();
  }

  ended(how: "in order" | "by error"): void {
    const lent = this.connection!;
    const event = lent.answers.finish();
    // RFC 9112 s. 8: a body up to the end of the connection is not whole where the connection broke.
    if (event?.kind === "end" && how === "in order" && this.answer !== undefined) {
      this.finish(lent);
      return;
    }
    this.upstream!.discard(lent);
    this.connection = undefined;
    if (!this.heard && this.canRepeat && lent.uses > 1) this.connect(true);
    else this.fail(httpError("the upstream closed the connection before its answer was complete", 502));
  }

  givenUp(why: "timeout" | "slowGuest"): void {
    this.fail(FAILURES[why]);
  }

  private fail(error: HttpError): void {
    if (this.over) return;
    this.abort();
    this.guest.fail(error);
  }

  abort(): void {
    this.over = true;
    this.withdraw?.();
    if (this.connection !== undefined) this.upstream!.discard(this.connection);
    this.connection = undefined;
  }

  body(bytes: Buffer): boolean {
    const { connection } = this;
    if (connection === undefined) return true;
    connection.slowSince = Math.min(connection.slowSince + bytes.length / EASY_RATE, performance.now());
    if (this.head.body !== "chunked") return this.write(bytes);
    this.pending += `${chunkLine(bytes.length)}${bytes.toString("latin1")}\r\n`;
    return this.pending.length < MAX_TOGETHER || this.flush();
  }

  flush(): boolean {
    const text = this.pending;
    this.pending = "";
    return text === "" || this.write(text);
  }

  private write(data: string | Uint8Array): boolean {
    const { connection } = this;
    if (connection === undefined || connection.write(data)) return true;
    connection.setTimeout(this.options.timeouts.idle);
    connection.slowSince = Number.POSITIVE_INFINITY;
    return false;
  }

  bodyEnd(): void {
    this.requestSent = true;
    if (this.connection === undefined) return;
    if (this.head.body === "chunked") this.pending += LAST_CHUNK;
    this.flush();
    this.connection.setTimeout(this.options.timeouts.firstByte);
    this.connection.slowSince = Number.POSITIVE_INFINITY;
  }

  /** The guest is slow, which is its own affair and not the upstream's. */
  private pause(lent: UpstreamConnection): void {
    this.paused = true;
    lent.pause();
    lent.slowSince = performance.now();
    lent.setTimeout(Number.POSITIVE_INFINITY);
  }

  resume(): void {
    const { connection } = this;
    // What the guest has taken now may have been the answer to an earlier request.
    if (connection === undefined || !this.paused) return;
    this.paused = false;
    connection.resume();
    connection.setTimeout(this.options.timeouts.idle);
    connection.slowSince = Number.POSITIVE_INFINITY;
  }
}
