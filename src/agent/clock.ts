/** Nanoseconds in a millisecond. */
export const NS_PER_MS = 1_000_000n;

/** A time of CLOCK_MONOTONIC (ns), which is also Node.js's own clock (process.hrtime), as the time of day (ISO 8601, UTC). */
export function timeOfDay(monotonic: bigint): string {
  const ago = Number((process.hrtime.bigint() - monotonic) / NS_PER_MS);
  return new Date(Date.now() - ago).toISOString();
}

/** Seconds, to the millisecond; times of CLOCK_MONOTONIC in ns. A frame may have come since `now` was read. */
export function secondsBetween(then: bigint, now: bigint): number {
  return Math.max(0, Number((now - then) / NS_PER_MS)) / 1000;
}
