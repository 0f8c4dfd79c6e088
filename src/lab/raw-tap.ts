import { EventEmitter } from "node:events";
import { openTap } from "../linux/tun.ts";

/** A tap whose guest is the test itself: it writes and reads whole frames, from the Ethernet header on. */
export interface RawTap {
  /** The vif. */
  readonly name: string;
  /** Frames that the host has sent and `nextFrame` has not returned, in order. */
  readonly pending: readonly Buffer[];
  /** Sends a frame, as the guest, to the host. */
  send(frame: Uint8Array): void;
  /**
   * Takes the first pending frame that matches out of `pending`, or waits for one. Throws after `timeout`
   * milliseconds, 2 s unless given. The kernel sends frames of its own (IPv6 discovery): match for what is meant.
   */
  nextFrame(matches: (frame: Buffer) => boolean, timeout?: number): Promise<Buffer>;
  /** Deletes the tap; a lab that closes does so too. */
  close(): void;
}

/** Makes a tap, down, in the network namespace of a file descriptor. */
export function openRawTap(name: string, namespaceFd: number): RawTap {
  const pending: Buffer[] = [];
  const events = new EventEmitter();
  let failure: Error | undefined;
  const tap = openTap(
    name,
    (frame) => {
      pending.push(frame);
      events.emit("change");
    },
    (error) => {
      failure = error;
      events.emit("change");
    },
    { namespaceFd },
  );
  return {
    name: tap.name,
    pending,
    send: tap.send,
    close: tap.close,
    nextFrame(matches, timeout = 2_000) {
      return new Promise((resolve, reject) => {
        const finish = (settle: () => void) => {
          clearTimeout(timer);
          events.off("change", look);
          settle();
        };
        const look = () => {
          const index = pending.findIndex(matches);
          if (index >= 0) finish(() => resolve(pending.splice(index, 1)[0]!));
          else if (failure !== undefined) finish(() => reject(failure));
        };
        const timer = setTimeout(() => finish(() => reject(lateFrame(name, timeout, pending))), timeout);
        events.on("change", look);
        look();
      });
    },
  };
}

function lateFrame(name: string, timeout: number, pending: readonly Buffer[]): Error {
  const others = pending.map((frame) => `\n  ${frame.toString("hex")}`).join("");
  return new Error(
    `no frame that matches came from ${name} within ${timeout} ms; others: ${pending.length}${others}`,
  );
}
