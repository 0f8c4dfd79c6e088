/** Packets as they come: waits for an open capture and reads it, in the way that the system has. */
import { type LivePacket, readBatch } from "./layout.ts";
import type { Capture } from "./libpcap.ts";

// Its system calls are Linux's alone.
const { onReadable } = process.platform === "linux" ? await import("../linux/readable.ts") : {};

/** How a capture is waited for. Either way nothing runs while nothing comes. */
export type Wait = "epoll" | "thread";

/** How long one capture is read at a time, in ms: a flood on one must not keep the others waiting, and each wait costs a change of threads. */
const TURN = 10;

/** A capture that is being read. */
export interface Following {
  /** Has what is there already delivered now; with a thread that waits, it is delivered as soon as it is there. */
  drain(): void;
  /** Closes the capture. Nothing is delivered after the call; it resolves when the capture is closed. */
  close(): Promise<void>;
}

/**
 * Calls back with each batch of packets. They are views that hold until the callback returns. After `onError` (the interface is gone) it is over
 * and the capture closed.
 */
export function followCapture(
  capture: Capture,
  onPackets: (packets: Iterable<LivePacket>) => void,
  onError: (error: Error) => void,
  wait: Wait = onReadable === undefined ? "thread" : "epoll",
): Following {
  const deliver = (batch: Uint8Array) => {
    if (batch.length > 0) onPackets(readBatch(batch, capture.nsPerUnit));
  };
  return wait === "epoll" && onReadable !== undefined
    ? followByEpoll(onReadable, capture, deliver, onError)
    : followInThread(capture, deliver, onError);
}

/** One thread waits for all captures of the process. */
function followByEpoll(
  whenReadable: NonNullable<typeof onReadable>,
  capture: Capture,
  deliver: (batch: Uint8Array) => void,
  onError: (error: Error) => void,
): Following {
  let open = true;
  const stop = whenReadable(capture.descriptor(), read);
  function read() {
    const end = performance.now() + TURN;
    while (open) {
      let batch: Uint8Array;
      try {
        batch = capture.read();
      } catch (error) {
        close();
        onError(error as Error);
        return;
      }
      deliver(batch);
      if (batch.length === 0 || performance.now() > end) return;
    }
  }
  function close() {
    if (!open) return;
    open = false;
    stop();
    capture.close();
  }
  return { drain: read, close: async () => close() };
}

/** A thread of libuv's pool waits for this capture, so there should be fewer of them than threads (4, or UV_THREADPOOL_SIZE). */
function followInThread(
  capture: Capture,
  deliver: (batch: Uint8Array) => void,
  onError: (error: Error) => void,
): Following {
  let open = true;
  const ended = (async () => {
    try {
      while (open) {
        const batch = await capture.readLater();
        if (open) deliver(batch);
      }
    } catch (error) {
      if (open) onError(error as Error);
      open = false;
    } finally {
      capture.close();
    }
  })();
  return {
    drain() {},
    async close() {
      if (open) capture.interrupt();
      open = false;
      await ended;
    },
  };
}
