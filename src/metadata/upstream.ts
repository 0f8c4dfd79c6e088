import type { Deadlines, Timed } from "./deadlines.ts";
import {
  type Borrower,
  type ConnectFailure,
  openConnection,
  type UpstreamAddress,
  type UpstreamConnection,
} from "./upstream-connection.ts";

/** Why no connection was to be had; "full": all are busy, and enough requests wait for one already; "closed": the upstream is one of former settings. */
export type AcquireFailure = ConnectFailure | "full" | "closed";

/** Who wants a connection. One of the two is called, once, unless the wish is withdrawn. */
export interface Waiter {
  /** While connections are scarce, those come first whose guest has fewer requests in flight. */
  readonly borrower: Borrower;
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
  /** Closes idle connections now and the others after their exchange. Nobody gets one any more: who waits for one is told. */
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

/** While others wait, a connection that has waited for its own guest for so many ms is taken from it. */
const PATIENCE = 500;

/** There is nothing to withdraw. */
const nothing = () => {};

/** Somebody who waits for a connection, and how to withdraw once one is being made. */
interface Waiting extends Timed {
  waiter: Waiter;
  fresh: boolean;
  withdraw: () => void;
}

function inFlight({ waiter }: Waiting): number {
  return waiter.borrower.inFlight;
}

/** See `Upstream`. */
export function createUpstream(options: UpstreamOptions): Upstream {
  const { address, connectTimeout, maxConnections, deadlines, onChange } = options;
  const name = `${address.host.includes(":") ? `[${address.host}]` : address.host}:${address.port}`;
  const all = new Set<UpstreamConnection>();
  const idle: UpstreamConnection[] = [];
  const waiting = new Set<Waiting>();
  /** Connections that are being made or are busy. */
  let busy = 0;
  let failures = 0;
  let down: { until: number; reason: string } | undefined;
  let closed = false;
  /** Watched while somebody waits. */
  const pressure: Timed = { deadline: 0, expire: relieve };

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
        all.add(made);
        const wasDown = down !== undefined;
        down = undefined;
        if (wasDown) onChange(status());
        if (!closed) lend(made, waiter);
        else {
          discard(made);
          waiter.failed("closed");
        }
      },
      failed(failure, reason) {
        settled = true;
        busy -= 1;
        failures += 1;
        const wasDown = down !== undefined;
        down = { until: performance.now() + DOWN_FOR, reason };
        if (!wasDown) onChange(status());
        waiter.failed(closed ? "closed" : failure);
        serveWaiting();
      },
      closed(made) {
        all.delete(made);
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
    connection.slowSince = Number.POSITIVE_INFINITY;
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
    if (waiting.size === 0) {
      pressure.deadline = deadlines.after(0);
      deadlines.add(pressure);
    }
    waiting.add(entry);
    deadlines.add(entry);
    return () => entry.withdraw();
  }
  function stopWaiting(entry: Waiting): void {
    waiting.delete(entry);
    deadlines.remove(entry);
    if (waiting.size === 0) deadlines.remove(pressure);
  }

  /** After a connection was given back: of those whose guests have the fewest requests in flight, the one who waits longest is served. */
  function serveWaiting(): void {
    if (busy >= maxConnections) return;
    let next: Waiting | undefined;
    for (const entry of waiting) {
      if (next === undefined || inFlight(entry) < inFlight(next)) next = entry;
      if (inFlight(next) <= 1) break;
    }
    if (next === undefined) return;
    stopWaiting(next);
    next.withdraw = serve(next.waiter, next.fresh);
  }

  /** Makes room for one who waits, at the cost of another whose guest has more requests in flight. */
  function displace({ borrower }: Waiter): boolean {
    let worst: Waiting | undefined;
    for (const entry of waiting) if (worst === undefined || inFlight(entry) >= inFlight(worst)) worst = entry;
    if (worst === undefined || inFlight(worst) <= borrower.inFlight) return false;
    stopWaiting(worst);
    worst.waiter.failed("full");
    return true;
  }

  function discard(connection: UpstreamConnection): void {
    connection.destroy();
    all.delete(connection);
    busy -= 1;
    serveWaiting();
  }

  /** As many as wait get the connections of slow guests: of those that have the most requests in flight, and of these the slowest first. */
  function relieve(): void {
    pressure.deadline = deadlines.after(0);
    const since = performance.now() - PATIENCE;
    const slow = [...all]
      .flatMap(({ user, slowSince }) =>
        user !== undefined && slowSince <= since ? [{ user, slowSince }] : [],
      )
      .sort((a, b) => b.user.borrower.inFlight - a.user.borrower.inFlight || a.slowSince - b.slowSince);
    for (const { user } of slow.slice(0, waiting.size)) user.givenUp("slowGuest");
  }

  return {
    name,
    acquire(waiter, fresh) {
      if (closed) {
        waiter.failed("closed");
        return nothing;
      }
      if (busy < maxConnections) return serve(waiter, fresh);
      if (waiting.size < maxConnections || displace(waiter)) return wait(waiter, fresh);
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
    discard,
    status,
    downUntil: () => down?.until ?? Number.NEGATIVE_INFINITY,
    close() {
      closed = true;
      for (const connection of idle.splice(0)) connection.destroy();
      for (const entry of [...waiting]) {
        stopWaiting(entry);
        entry.waiter.failed("closed");
      }
    },
  };
}
