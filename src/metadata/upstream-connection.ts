import type { SecureContext } from "node:tls";
import type { TcpEvents } from "../linux/tcp.ts";
import type { Deadlines, Timed } from "./deadlines.ts";
import { createMessageParser, type MessageParser } from "./http-parser.ts";
import { type ResponseHead, readResponseHead } from "./http-response.ts";
import { httpError } from "./http-syntax.ts";
import { openTransport } from "./transport.ts";

/** Where an upstream listens. */
export interface UpstreamAddress {
  /** A name or an address, without brackets. */
  host: string;
  port: number;
  /** Whom to trust and what certificate to show; undefined for HTTP without TLS. */
  tls: SecureContext | undefined;
}

/** For whom a connection is used. */
export interface Borrower {
  /** Its requests that upstreams have not answered yet. */
  readonly inFlight: number;
}

/** What hears of a connection while an exchange has it. */
export interface ConnectionUser {
  readonly borrower: Borrower;
  /** As in `TcpEvents`. */
  data(memory: Buffer, from: number, to: number): void;
  /** More may be written. */
  drained(): void;
  /** The upstream sends nothing more; the connection is gone, in order or by an error. */
  ended(how: "in order" | "by error"): void;
  /** The time that `setTimeout` gave has passed; or others wait for a connection, and this one for its guest. */
  givenUp(why: "timeout" | "slowGuest"): void;
}

/** A connection to an upstream. */
export interface UpstreamConnection {
  /** Undefined while no exchange has it. */
  user: ConnectionUser | undefined;
  /** Reads the answers; its context is the method of the request that is to be answered. */
  readonly answers: MessageParser<ResponseHead>;
  /** Exchanges that it was used for: the upstream may be closing one that was used just now. */
  uses: number;
  /** Since when, in ms of `performance.now()`, it waits for the guest to send more or to take more; Infinity while it does not. */
  slowSince: number;
  /** False: wait for `drained` before writing more. Text is latin1. */
  write(data: string | Uint8Array): boolean;
  pause(): void;
  resume(): void;
  /** Milliseconds from now until the user, or without one the owner, hears that time is up. */
  setTimeout(ms: number): void;
  /** Closes it; nobody hears of it. */
  destroy(): void;
}

/** Why there is no connection. */
export type ConnectFailure = "unreachable" | "timeout";

/** Who opens a connection. Of `ready` and `failed` one is called, once, unless it is destroyed before. */
export interface ConnectionOwner {
  ready(connection: UpstreamConnection): void;
  /** `reason` is for the log. */
  failed(failure: ConnectFailure, reason: string): void;
  /** It was there and is closed, by the upstream or because it was idle for too long. */
  closed(connection: UpstreamConnection): void;
}

/** Most bytes in the head of an answer. */
const MAX_RESPONSE_HEAD = 65_536;

/** Opens a connection; what is `connectTimeout` ms late is given up, TLS included. */
export function openConnection(
  address: UpstreamAddress,
  connectTimeout: number,
  deadlines: Deadlines,
  owner: ConnectionOwner,
): UpstreamConnection {
  let phase: "connecting" | "open" | "gone" = "connecting";
  let reason = "connection closed";
  function end(failure: ConnectFailure = "unreachable", how: "in order" | "by error" = "by error"): void {
    const [before, { user }] = [phase, connection];
    if (before === "gone") return;
    leave();
    if (before === "connecting") owner.failed(failure, reason);
    if (before !== "open") return;
    owner.closed(connection);
    user?.ended(how);
  }
  function leave(): void {
    phase = "gone";
    connection.user = undefined;
    deadlines.remove(timed);
    transport.destroy();
  }
  const timed: Timed = {
    deadline: deadlines.after(connectTimeout),
    expire() {
      timed.deadline = Number.POSITIVE_INFINITY;
      reason = `no connection within ${connectTimeout} ms`;
      if (connection.user === undefined) end("timeout");
      else connection.user.givenUp("timeout");
    },
  };
  const connection: UpstreamConnection = {
    user: undefined,
    answers: createMessageParser({
      readHead: readResponseHead,
      maxHead: MAX_RESPONSE_HEAD,
      tooLong: () => httpError("a head of too many bytes"),
    }),
    uses: 0,
    slowSince: Number.POSITIVE_INFINITY,
    write: (data) => transport.write(data),
    pause: () => transport.setReading(false),
    resume: () => transport.setReading(true),
    setTimeout(ms) {
      timed.deadline = deadlines.after(ms);
    },
    destroy: leave,
  };
  const events: TcpEvents = {
    connected() {
      phase = "open";
      timed.deadline = Number.POSITIVE_INFINITY;
      owner.ready(connection);
    },
    data(memory, from, to) {
      if (connection.user !== undefined) connection.user.data(memory, from, to);
      // An answer that nobody asked for.
      else end();
    },
    drained: () => connection.user?.drained(),
    ended: () => end("unreachable", "in order"),
    closed(error) {
      reason = error ?? reason;
      end();
    },
  };
  const transport = openTransport(address, events);
  deadlines.add(timed);
  return connection;
}
