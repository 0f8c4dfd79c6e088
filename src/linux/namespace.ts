/** Network namespaces by file descriptor. */
import { access, closeSync, openSync } from "node:fs";
import { enterNetworkNamespace, unshareNetworkNamespace } from "./libc.ts";

// libuv starts the threads of its pool at the first asynchronous call, and they inherit the caller's namespace: have them
// started here, or name lookups may be made in a guest's namespace for the rest of the process.
access("/", () => {});

/**
 * Runs an action in another network namespace. What it opens there (sockets, taps) and the processes it starts belong
 * to that namespace for good. It must not be asynchronous, nor start anything that is: only the calling thread moves.
 */
export function inNetworkNamespace<T>(namespaceFd: number, action: () => T): T {
  const home = openSync(OWN_NAMESPACE, "r");
  try {
    enterNetworkNamespace(namespaceFd);
    return action();
  } finally {
    enterNetworkNamespace(home);
    closeSync(home);
  }
}

/**
 * Makes a network namespace and returns a file descriptor of it. The namespace has no name, and is gone with all its
 * devices when the descriptor is closed and no process or socket is left in it.
 */
export function makeNetworkNamespace(): number {
  const home = openSync(OWN_NAMESPACE, "r");
  try {
    unshareNetworkNamespace();
    return openSync(OWN_NAMESPACE, "r");
  } finally {
    enterNetworkNamespace(home);
    closeSync(home);
  }
}

/** Not /proc/self, whose links are those of the main thread. */
const OWN_NAMESPACE = "/proc/thread-self/ns/net";
