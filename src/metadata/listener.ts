import type { Logger } from "pino";
import type { SocketAddress } from "../linux/socket-calls.ts";
import { listenTcp, type TcpConnection, type TcpEvents, type TcpListener } from "../linux/tcp.ts";

/** Whether it listens; while it cannot, it tries again every second. */
export type ListenState = SocketAddress & ({ state: "listening" } | { state: "failed"; reason: string });

/** Listens in one place, which may change. */
export interface Listener {
  /** Undefined: nowhere. Connections that are there stay. */
  listen(at: SocketAddress | undefined): void;
  state(): ListenState | undefined;
}

const AGAIN = 1000;

/** See `Listener`; `accept` is that of `listenTcp`. It listens nowhere at first. */
export function createListener(
  accept: (connection: TcpConnection, peer: string) => TcpEvents,
  log: Logger,
): Listener {
  let at: SocketAddress | undefined;
  let listener: TcpListener | undefined;
  let failure: string | undefined;
  let timer: NodeJS.Timeout | undefined;

  function start(where: SocketAddress): void {
    try {
      listener = listenTcp(where, accept);
      failure = undefined;
      log.info(where, "the metadata service listens");
    } catch (error) {
      const reason = (error as Error).message;
      if (failure !== reason) {
        const mend = "if the port is in use, give metadata.port another";
        log.error({ ...where, reason, mend }, "the metadata service cannot listen");
      }
      failure = reason;
      timer = setTimeout(start, AGAIN, where);
    }
  }

  return {
    listen(next) {
      if (next?.address === at?.address && next?.port === at?.port) return;
      clearTimeout(timer);
      listener?.close();
      [at, listener, failure] = [next, undefined, undefined];
      if (next !== undefined) start(next);
    },
    state() {
      if (at === undefined) return undefined;
      return failure === undefined
        ? { ...at, state: "listening" }
        : { ...at, state: "failed", reason: failure };
    },
  };
}
