/** Something that must not take longer than until `deadline`. */
export interface Timed {
  /** In ms of `performance.now()`; Infinity for no limit. May be set at any time. */
  deadline: number;
  /** Called once the deadline has passed, again and again until it is set anew or the object is removed. */
  expire(): void;
}

/** Watches over deadlines. To set one costs nothing, unlike a timer for each, and many of them are set for every request. */
export interface Deadlines {
  add(timed: Timed): void;
  remove(timed: Timed): void;
  /** The deadline that is `ms` from now, or up to `INTERVAL` later: the clock is not asked for it. */
  after(ms: number): number;
  close(): void;
}

/** How often deadlines are looked at, in ms: they may be met this much late. */
const INTERVAL = 100;

/** See `Deadlines`. Looks at nothing while there is nothing to watch. */
export function createDeadlines(): Deadlines {
  const all = new Set<Timed>();
  let timer: NodeJS.Timeout | undefined;
  let now = performance.now();

  function look(): void {
    now = performance.now();
    for (const timed of all) if (timed.deadline <= now) timed.expire();
  }
  function stop(): void {
    clearInterval(timer);
    timer = undefined;
  }
  return {
    add(timed) {
      all.add(timed);
      if (timer !== undefined) return;
      now = performance.now();
      timer = setInterval(look, INTERVAL);
    },
    remove(timed) {
      all.delete(timed);
      if (all.size === 0) stop();
    },
    after: (ms) => (timer === undefined ? performance.now() : now + INTERVAL) + ms,
    close() {
      all.clear();
      stop();
    },
  };
}
