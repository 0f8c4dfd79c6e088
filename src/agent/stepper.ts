import type { Logger } from "pino";
import { messageOf } from "./errors.ts";

/**
 * Why the datapath is brought in step: the agent starts, a configuration is taken over, something on the host has changed or may have, or a
 * backend has other addresses or another health.
 */
export type ReconcileTrigger = "start" | "reload" | "host" | "backend";

/** Told after each time that the datapath was brought in step: why, how long it took in seconds, and how many steps of it failed. */
export type ReconcileListener = (trigger: ReconcileTrigger, seconds: number, failures: number) => void;

/** Brings the datapath in step, now or later. What goes wrong is logged, once as long as it is the same, and tried again. */
export interface Stepper {
  /** Takes some steps, one after the other, also where one of them fails. */
  take(trigger: ReconcileTrigger, ...steps: ReadonlyArray<() => void>): void;
  /** Takes all steps soon. Called again and again until then, it takes them once. */
  soon(): void;
  /** Takes all steps in so many ms; the last call holds. */
  after(ms: number): void;
  /** What went wrong since all steps were last taken without a failure. */
  failures(): readonly string[];
  close(): void;
}

/**
 * How often everything is looked at without an event, in ms: for what makes none, such as the last flow of an interface that is kept for
 * its flows, or a disk that has room again.
 */
const LOOK_INTERVAL = 30_000;

/** Changes of routes come in bursts; one look at the routes this many ms after the first of them serves all. */
const RECONCILE_DELAY = 100;

/** How long after a failure all is tried again, in ms. */
const RETRY_DELAY = 2000;

/** See `Stepper`. `steps` are all the steps that there are. */
export function createStepper(
  steps: ReadonlyArray<() => void>,
  { onReconcile, log }: { onReconcile: ReconcileListener; log: Logger },
): Stepper {
  /** Since all steps were last taken. */
  let failures: readonly string[] = [];
  let retryTimer: NodeJS.Timeout | undefined;
  let soonTimer: NodeJS.Timeout | undefined;
  let laterTimer: NodeJS.Timeout | undefined;

  /** Takes some steps; returns what went wrong. */
  function run(trigger: ReconcileTrigger, some: ReadonlyArray<() => void>): string[] {
    const started = performance.now();
    const failed: string[] = [];
    for (const step of some) {
      try {
        step();
      } catch (error) {
        failed.push(messageOf(error));
      }
    }
    for (const reason of failed) {
      if (!failures.includes(reason))
        log.error({ reason }, "cannot bring the datapath in step; tried again and again");
    }
    onReconcile(trigger, (performance.now() - started) / 1000, failed.length);
    return failed;
  }

  /** What a step could not do, it does when all are taken again. */
  function note(now: readonly string[], isFailed: boolean): void {
    failures = [...new Set(now)];
    if (!isFailed) return;
    clearTimeout(retryTimer);
    retryTimer = setTimeout(soon, RETRY_DELAY);
  }

  function soon(): void {
    soonTimer ??= setTimeout(() => {
      soonTimer = undefined;
      const failed = run("host", steps);
      note(failed, failed.length > 0);
    }, RECONCILE_DELAY);
  }

  // It does not keep a process alive whose start has failed elsewhere.
  const look = setInterval(soon, LOOK_INTERVAL).unref();
  return {
    take(trigger, ...some) {
      const failed = run(trigger, some);
      note([...failures, ...failed], failed.length > 0);
    },
    soon,
    after(ms) {
      clearTimeout(laterTimer);
      laterTimer = setTimeout(soon, ms);
    },
    failures: () => failures,
    close() {
      for (const timer of [soonTimer, laterTimer, retryTimer]) clearTimeout(timer);
      clearInterval(look);
    },
  };
}
