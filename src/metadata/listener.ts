import { createServer, type Server, type Socket } from "node:net";
import type { Logger } from "pino";

/** An address of this host, and a port. */
export interface ListenAddress {
  address: string;
  port: number;
}

/** Whether it listens; while it cannot, it tries again every second. */
export type ListenState = ListenAddress & ({ state: "listening" } | { state: "failed"; reason: string });

/** Listens in one place, which may change. */
export interface Listener {
  /** Undefined: nowhere. Connections that are there stay. */
  listen(at: ListenAddress | undefined): void;
  state(): ListenState | undefined;
}

const AGAIN = 1000;

/** See `Listener`; `accept` gets connections whose ends are closed one by one. It listens nowhere at first. */
export function createListener(accept: (socket: Socket) => void, log: Logger): Listener {
  let at: ListenAddress | undefined;
  let server: Server | undefined;
  let failure: string | undefined;
  let timer: NodeJS.Timeout | undefined;

  function start({ address, port }: ListenAddress): void {
    const made = createServer({ noDelay: true, allowHalfOpen: true }, accept);
    server = made;
    made.on("error", ({ message }) => {
      if (server !== made) return;
      if (failure !== message) {
        const mend = "if the port is in use, give metadata.port another";
        log.error({ address, port, reason: message, mend }, "the metadata service cannot listen");
      }
      failure = message;
      timer = setTimeout(() => start({ address, port }), AGAIN);
    });
    made.listen({ host: address, port, backlog: 1024 }, () => {
      failure = undefined;
      log.info({ address, port }, "the metadata service listens");
    });
  }

  return {
    listen(next) {
      if (next?.address === at?.address && next?.port === at?.port) return;
      clearTimeout(timer);
      // One that could not listen reports that it does not, which is no news.
      server?.close(() => {});
      [at, server, failure] = [next, undefined, undefined];
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
