import { setTimeout as delay } from "node:timers/promises";

/** Pause between two looks, in milliseconds: short against what is waited for, long against the cost of a look. */
const PAUSE = 20;

/**
 * Waits for something that announces itself by no event: looks again and again until `look` gives a value other than
 * undefined, null or false, and returns that. Throws, naming `what`, when it has not within `timeout` milliseconds.
 */
export async function waitFor<T>(
  what: string,
  look: () => T | Promise<T>,
  timeout = 10_000,
): Promise<Exclude<T, undefined | null | false>> {
  const end = performance.now() + timeout;
  for (;;) {
    const value = await look();
    if (value !== undefined && value !== null && value !== false)
      return value as Exclude<T, undefined | null | false>;
    if (performance.now() > end) throw new Error(`waited ${timeout} ms in vain for ${what}`);
    await delay(PAUSE);
  }
}
