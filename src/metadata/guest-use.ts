import type { MetadataConfig } from "../config/metadata-service.ts";
import type { GuestIdentity } from "./types.ts";

/** What one guest has used and does now. */
export interface GuestUse {
  /** As it was at the first connection. */
  guest: GuestIdentity;
  connections: number;
  /** Requests that an upstream has not answered yet. */
  inFlight: number;
  /** Requests that it may make at once, as of `filled` (ms of `performance.now()`). */
  allowance: number;
  filled: number;
  requests: number;
  /** Answers by status. */
  answers: Map<number, number>;
  /** The last answer: its status, and when (ms since 1970). */
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

/** Whether these are the same guest: its metadata address alone may be that of another one by now. */
export function isSameGuest(one: GuestIdentity, other: GuestIdentity | undefined): boolean {
  return (
    one === other ||
    (one.interface === other?.interface && one.instanceId === other.instanceId && one.mac === other.mac)
  );
}

/**
 * Whether the guest may make a request at `now`, in ms, and counts it if so. It may make as many at once as in a second, and after that as many as the
 * time that has passed allows.
 */
export function admit(use: GuestUse, { requestsPerSecond }: MetadataConfig["limits"], now: number): boolean {
  const earned = ((now - use.filled) * requestsPerSecond) / 1000;
  use.allowance = Math.min(requestsPerSecond, use.allowance + earned);
  use.filled = now;
  if (use.allowance < 1) return false;
  use.allowance -= 1;
  return true;
}
