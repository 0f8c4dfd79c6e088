/** Which lines are logged, so that a flood of senders neither fills the log nor the memory. */

/** Tells each time whether a line about something is to be written. */
export interface MinuteLog {
  /**
   * Whether a line about `key` may be written at `now` (ms, of a clock that only goes forward): at most once a minute for each key, and at most
   * `capacity` lines a minute in all. `left` is how many keys were passed over since the last line for want of room.
   */
  admit(key: string, now: number): { left: number } | undefined;
}

const MINUTE = 60_000;

/** Nothing written yet. */
export function newMinuteLog(capacity: number): MinuteLog {
  /** When each key was written, the oldest first. */
  const written = new Map<string, number>();
  let left = 0;
  return {
    admit(key, now) {
      const last = written.get(key);
      if (last !== undefined && now - last < MINUTE) return undefined;
      for (const [oldest, at] of written) {
        if (now - at < MINUTE) break;
        written.delete(oldest);
      }
      if (written.size >= capacity) {
        left++;
        return undefined;
      }
      written.set(key, now);
      const result = { left };
      left = 0;
      return result;
    },
  };
}
