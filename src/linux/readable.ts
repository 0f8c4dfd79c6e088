/**
 * Waiting for file descriptors that Node.js cannot wait for (netlink sockets, taps): one epoll set for the process,
 * and one thread of libuv's pool that waits for it, however many descriptors there are. The thread waits only while
 * there are some. It is woken when the process exits, since libuv joins its threads then.
 */
import { readSync, writeSync } from "node:fs";
import { type Epoll, openEpoll, openEvent } from "./libc.ts";

interface Poller {
  epoll: Epoll;
  /** An eventfd in the set: writing to it ends the wait. */
  event: number;
}

let poller: Poller | undefined;
let waiting = false;
const callbacks = new Map<number, () => unknown>();

/**
 * Calls back whenever a file descriptor can be read or has an error, until the returned function is called; call that
 * before the descriptor is closed. The descriptor should be non-blocking. The process stays alive meanwhile. A callback that gives true expects more at once: then
 * the thread, which takes its time to be set waiting, is left out, and all is looked at again after whatever else the process has to do.
 */
export function onReadable(fd: number, callback: () => unknown): () => void {
  poller ??= openPoller();
  const { epoll, event } = poller;
  epoll.add(fd);
  callbacks.set(fd, callback);
  wait(poller);
  return () => {
    epoll.remove(fd);
    callbacks.delete(fd);
    if (callbacks.size === 0) {
      wake(event);
    }
  };
}

/** Reads from a non-blocking file descriptor; undefined when nothing is there. */
export function readNow(fd: number, buffer: Buffer): number | undefined {
  try {
    return readSync(fd, buffer);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EAGAIN") {
      return undefined;
    }
    throw error;
  }
}

function openPoller(): Poller {
  const epoll = openEpoll();
  const event = openEvent();
  epoll.add(event);
  process.once("exit", () => wake(event));
  return { epoll, event };
}

function wake(event: number): void {
  writeSync(event, new BigUint64Array([1n]));
}

function wait(poller: Poller): void {
  if (waiting || callbacks.size === 0) {
    return;
  }
  waiting = true;
  poller.epoll.wait(() => look(poller));
}

function look(poller: Poller): void {
  let expectsMore = false;
  try {
    for (const fd of poller.epoll.ready()) {
      if (fd === poller.event) {
        readSync(fd, new BigUint64Array(1));
      } else if (callbacks.get(fd)?.() === true) {
        expectsMore = true;
      }
    }
  } finally {
    if (expectsMore) {
      setImmediate(look, poller);
    } else {
      waiting = false;
      wait(poller);
    }
  }
}
