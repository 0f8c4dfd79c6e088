import type { MetadataConfig } from "../config/metadata-service.ts";
import { byStatus, type GuestStats } from "./stats.ts";
import type { GuestIdentity } from "./types.ts";

/** What one guest has used and does now. */
export interface GuestUse {
  /** As it was at the first connection. */
  guest: GuestIdentity;
  connections: number;
  /** Requests that an upstream has not answered yet. */
  inFlight: number;
  /** Requests that it may make at once, as of `filled` (ms of `performance.now()`); below zero: that it owes. */
  allowance: number;
  filled: number;
  requests: number;
  /** Answers by status. */
  answers: Map<number, number>;
  /** The last answer: its status, and when (ms of `performance.now()`). */
  last: { status: number; at: number } | undefined;
  /** When a refusal of this guest was last logged, in ms of `performance.now()`. */
  logged: number;
}

/** A guest that has not asked for anything yet. */
export function newGuestUse(guest: GuestIdentity, requestsPerSecond: number): GuestUse {
  return {
    guest,
    connections: 0,
    inFlight: 0,
    allowance: requestsPerSecond,
    filled: 0,
    requests: 0,
    answers: new Map(),
    last: undefined,
    logged: Number.NEGATIVE_INFINITY,
  };
}

/** What is told of it; `guest` is the guest as it is now, `started` when `performance.now()` was 0, in ms since 1970. */
export function statsOf(use: GuestUse, guest: GuestIdentity, started: number): GuestStats {
  const { connections, inFlight, requests, answers, last } = use;
  return {
    interface: guest.interface,
    metadataAddress: guest.metadataAddress,
    ...(guest.instanceId !== undefined && { instanceId: guest.instanceId }),
    connections,
    inFlight,
    requests,
    answers: byStatus(answers),
    ...(last !== undefined && {
      last: { status: last.status, at: new Date(started + last.at).toISOString() },
    }),
  };
}

/** Whether these are the same guest: its metadata address alone may be that of another one by now. An instance may have its interface made anew. */
export function isSameGuest(one: GuestIdentity, other: GuestIdentity | undefined): boolean {
  return (
    one === other ||
    (one.interface === other?.interface &&
      one.instanceId === other.instanceId &&
      one.mac === other.mac &&
      (one.instanceId !== undefined || one.ifindex === other.ifindex))
  );
}

type Limits = Pick<MetadataConfig["limits"], "requestsPerSecond">;

/** The requests that the guest may make at `now`, in ms: as many at once as in a second, and after that as many as the time that has passed allows. */
function allowanceAt(use: GuestUse, { requestsPerSecond }: Limits, now: number): number {
  const earned = ((now - use.filled) * requestsPerSecond) / 1000;
  use.allowance = Math.min(requestsPerSecond, use.allowance + earned);
  use.filled = now;
  return use.allowance;
}

/** Whether the guest may make a request at `now`, in ms, and counts it if so. */
export function admit(use: GuestUse, limits: Limits, now: number): boolean {
  if (allowanceAt(use, limits, now) < 1) return false;
  use.allowance -= 1;
  return true;
}

/** Counts what is no request but costs as much: something malformed, a connection that brings none. The guest may come to owe a second's requests. */
export function charge(use: GuestUse, limits: Limits, now: number): void {
  use.allowance = Math.max(allowanceAt(use, limits, now) - 1, -limits.requestsPerSecond);
}

/** Whether the guest has made so much of what is no request that its connections are not even looked at. */
export function isInDebt(use: GuestUse, limits: Limits, now: number): boolean {
  return allowanceAt(use, limits, now) < 0;
}

/** A connection that is there, as far as it matters where there are too many. */
export interface UsedConnection {
  use: GuestUse;
  /** See `GuestEvents`. */
  idleSince(): number | undefined;
}

/**
 * Which connection is to be closed for a new one of `newcomer`, where there are as many as may be: the one that has been idle the longest, of those of the guest
 * that has the most. So a guest gets in whoever holds them all. Undefined when none is idle of a guest that has more than the newcomer, whose new one counts.
 */
export function toGiveWay<Connection extends UsedConnection>(
  connections: Iterable<Connection>,
  newcomer: GuestUse,
): Connection | undefined {
  let found: Connection | undefined;
  let [most, longest] = [newcomer.connections + 1, Number.POSITIVE_INFINITY];
  for (const connection of connections) {
    const { use } = connection;
    const count = use === newcomer ? use.connections + 1 : use.connections;
    if (count < most) continue;
    const since = connection.idleSince();
    if (since === undefined || (count === most && since >= longest)) continue;
    [found, most, longest] = [connection, count, since];
  }
  return found;
}
