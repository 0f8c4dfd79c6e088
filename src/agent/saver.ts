import type { Logger } from "pino";
import { messageOf } from "./errors.ts";

/** Keeps what changes, at times in bursts, over a restart of the agent. */
export interface Saver {
  /** Something has changed. The first change is saved before this returns, those that follow closely are saved together. */
  changed(): void;
  /** Saves what is not saved yet. */
  close(): void;
}

/** From one write to the next, in ms: of a burst, what an agent loses that is killed. */
const INTERVAL = 100;

/** See `Saver`. `save` may throw: the log says that `what` is not saved, and the next change tries again. */
export function createSaver(save: () => void, what: string, log: Logger): Saver {
  let timer: NodeJS.Timeout | undefined;
  let isBehind = false;

  function saveNow(): void {
    isBehind = false;
    try {
      save();
    } catch (error) {
      log.error({ reason: messageOf(error) }, `cannot save ${what}; a restart begins without`);
    }
  }

  function wait(): void {
    timer = setTimeout(() => {
      timer = undefined;
      if (!isBehind) return;
      saveNow();
      wait();
    }, INTERVAL);
  }

  return {
    changed() {
      isBehind = true;
      if (timer !== undefined) return;
      saveNow();
      wait();
    },
    close() {
      clearTimeout(timer);
      timer = undefined;
      if (isBehind) saveNow();
    },
  };
}
