import type { Deadlines, Timed } from "./deadlines.ts";
import {
  type ConnectFailure,
  openConnection,
  type UpstreamAddress,
  type UpstreamConnection,
} from "./upstream-connection.ts";

/** Why no connection was to be had; "full": all are busy, and enough requests wait for one already. */
export type AcquireFailure = ConnectFailure | "full";

/** Who wants a connection. One of the two is called, once, unless the wish is withdrawn. */
export interface Waiter {
  connected(connection: UpstreamConnection): void;
  failed(failure: AcquireFailure): void;
}

/** The connections to one upstream. */
export interface Upstream {
  /** `host:port`, which is also what Host says in requests to it. */
  readonly name: string;
  /**
   * Finds a connection for the waiter, at once where one is idle; `fresh` asks for one that no exchange has used. Returns how to withdraw. Who gets
   * one gives it back by `release` or `discard`.
   */
  acquire(waiter: Waiter, fresh: boolean): () => void;
  /** After a whole exchange on a connection that the upstream keeps open. */
  release(connection: UpstreamConnection): void;
  /** Closes a connection, or says that it is gone. */
  discard(connection: UpstreamConnection): void;
  status(): UpstreamStatus;
  /** In ms of `performance.now()`: until then others are asked first, since it could not be reached. */
  downUntil(): number;
  /** Closes idle connections now and the others after their exchange. */
  close(): void;
}

/** How an upstream stands. */
export interface UpstreamStatus {
  upstream: string;
  /** Whether the last attempt to connect failed; `reason` says how. */
  state: "up" | "down";
  reason?: string;
  connections: { busy: number; idle: number };
  waiting: number;
  /** Attempts to connect that failed, since it was configured. */
  failures: number;
}

/** What `createUpstream` needs. */
export interface UpstreamOptions {
  address: UpstreamAddress;
  /** Milliseconds until a connection is there, and also the longest wait for one that is busy. */
  connectTimeout: number;
  /** Most connections, and most requests that wait for one. */
  maxConnections: number;
  deadlines: Deadlines;
  /** Told when it goes down or comes up. */
  onChange: (status: UpstreamStatus) => void;
}

/** After this many ms an idle connection is closed: sooner than most servers do it. */
const KEEP_IDLE = 4000;
/** For so many ms an upstream that could not be reached is asked last. */
const DOWN_FOR = 10_000;

/** There is nothing to withdraw. */
const nothing = () => {};

/** Somebody who waits for a connection, and how to withdraw once one is being made. */
interface Waiting extends Timed {
  waiter: Waiter;
  fresh: boolean;
  withdraw: () => void;
}

/** See `Upstream`. */
export function createUpstream(options: UpstreamOptions): Upstream {
  const { address, connectTimeout, maxConnections, deadlines, onChange } = options;
  const name = `${address.host.includes(":") ? `[${address.host}]` : address.host}:${address.port}`;
  const idle: UpstreamConnection[] = [];
  const waiting = new Set<Waiting>();
  /** Connections that are being made or are busy. */
  let busy = 0;
  let failures = 0;
  let down: { until: number; reason: string } | undefined;
  let closed = false;

  function status(): UpstreamStatus {
    const state =
      down === undefined ? ({ state: "up" } as const) : { state: "down" as const, reason: down.reason };
    return {
      upstream: name,
      ...state,
      connections: { busy, idle: idle.length },
      waiting: waiting.size,
      failures,
    };
  }

  /** Opens a connection, of which there is room for one. Returns how to give it up. */
  function open(waiter: Waiter): () => void {
    busy += 1;
    let settled = false;
    const connection = openConnection(address, connectTimeout, deadlines, {
      ready(made) {
        settled = true;
        const wasDown = down !== undefined;
        down = undefined;
        if (wasDown) onChange(status());
        lend(made, waiter);
      },
      failed(failure, reason) {
        settled = true;
        busy -= 1;
        failures += 1;
        const wasDown = down !== undefined;
        down = { until: performance.now() + DOWN_FOR, reason };
        if (!wasDown) onChange(status());
        waiter.failed(failure);
        serveWaiting();
      },
      closed(made) {
        const at = idle.indexOf(made);
        if (at >= 0) idle.splice(at, 1);
      },
    });
    return () => {
      if (settled) return;
      settled = true;
      busy -= 1;
      connection.destroy();
      serveWaiting();
    };
  }

  function lend(connection: UpstreamConnection, waiter: Waiter): void {
    connection.uses += 1;
    connection.setTimeout(Number.POSITIVE_INFINITY);
    waiter.connected(connection);
  }

  /** Gives the waiter an idle connection, or opens one; there is room for it. */
  function serve(waiter: Waiter, fresh: boolean): () => void {
    const used = fresh ? undefined : idle.pop();
    if (used === undefined) return open(waiter);
    busy += 1;
    lend(used, waiter);
    return nothing;
  }

  function wait(waiter: Waiter, fresh: boolean): () => void {
    const entry: Waiting = {
      waiter,
      fresh,
      withdraw: () => stopWaiting(entry),
      deadline: deadlines.after(connectTimeout),
      expire() {
        stopWaiting(entry);
        waiter.failed("full");
      },
    };
    waiting.add(entry);
    deadlines.add(entry);
    return () => entry.withdraw();
  }
  function stopWaiting(entry: Waiting): void {
    waiting.delete(entry);
    deadlines.remove(entry);
  }

  /** After a connection was given back: the one who waits longest is served. */
  function serveWaiting(): void {
    const [first] = waiting;
    if (first === undefined || busy >= maxConnections) return;
    stopWaiting(first);
    first.withdraw = serve(first.waiter, first.fresh);
  }

  return {
    name,
    acquire(waiter, fresh) {
      if (busy < maxConnections) return serve(waiter, fresh);
      if (waiting.size < maxConnections) return wait(waiter, fresh);
      waiter.failed("full");
      return nothing;
    },
    release(connection) {
      connection.user = undefined;
      busy -= 1;
      if (closed) connection.destroy();
      else {
        // Its last exchange may have had to wait for a slow guest; the next one must not.
        connection.resume();
        connection.setTimeout(KEEP_IDLE);
        idle.push(connection);
      }
      serveWaiting();
    },
    discard(connection) {
      connection.destroy();
      busy -= 1;
      serveWaiting();
    },
    status,
    downUntil: () => down?.until ?? Number.NEGATIVE_INFINITY,
    close() {
      closed = true;
      for (const connection of idle.splice(0)) connection.destroy();
    },
  };
}
