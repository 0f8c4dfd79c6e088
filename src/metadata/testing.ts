/** For tests: the service on the loopback, upstreams that do as they are told, and guests, told apart by their 127.0.0.x as on a host by their metadata address. */
import { createHash } from "node:crypto";
import { once } from "node:events";
import { createServer as createHttpServer, type RequestListener } from "node:http";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { Writable } from "node:stream";
import { pino } from "pino";
import { afterEach } from "vitest";
import { freePort } from "../linux/testing.ts";
import { createMetadataService, type MetadataService, type MetadataServiceOptions } from "./service.ts";
import type { MetadataSettings, ProxySettings } from "./settings.ts";
import type { GuestIdentity } from "./types.ts";

/** What is to be undone after the test, the last first. */
export const cleanUp: Array<() => void> = [];
afterEach(() => {
  for (const step of cleanUp.splice(0).reverse()) step();
});

/** Limits that tests do not meet unless they mean to. */
export const LIMITS: MetadataSettings["limits"] = {
  connections: 100,
  connectionsPerGuest: 50,
  requestsInFlight: 50,
  requestsPerSecond: 10_000,
  bodyBytes: 50_000_000,
};

/** Guests at 127.0.0.2 to 127.0.0.9; the last has no instance. */
export const GUESTS = new Map<string, GuestIdentity>(
  Array.from({ length: 8 }, (_, i) => {
    const metadataAddress = `127.0.0.${i + 2}`;
    const guest = { interface: `tap${i}`, metadataAddress, addresses: ["10.0.1.3"] };
    return [metadataAddress, i < 7 ? { ...guest, instanceId: `instance-${i}` } : guest];
  }),
);

/** A service that listens on 127.0.0.1; `log` has its lines. */
export interface Running {
  service: MetadataService;
  port: number;
  log: string[];
}

/** Starts a service with these settings, in mode proxy where upstreams are among them. */
export async function start(
  changes: Partial<Omit<MetadataSettings, "proxy">> & { proxy?: Partial<ProxySettings> },
  others: Partial<MetadataServiceOptions> = {},
): Promise<Running> {
  const log: string[] = [];
  const { proxy, limits, ...settings } = changes;
  const service = createMetadataService({
    settings: {
      mode: proxy === undefined ? "builtin" : "proxy",
      requireToken: false,
      limits: { ...LIMITS, ...limits },
      proxy: proxy && {
        upstreams: [],
        secret: "s3cret",
        timeouts: { connect: 1000, firstByte: 20_000, idle: 20_000 },
        connections: 50,
        ...proxy,
      },
      ...settings,
    },
    guestOf: (address) => GUESTS.get(address),
    builtin: ({ path }, guest) => ({ status: 200, headers: [], body: `${guest.interface} ${path}` }),
    tokenKey: { secret: Buffer.alloc(32), bootId: "boot" },
    log: pino(new Writable({ write: (line, _, done) => done(void log.push(String(line))) })),
    ...others,
  });
  cleanUp.push(() => service.close());
  const port = await freePort();
  service.listen({ address: "127.0.0.1", port });
  return { service, port, log };
}

/** A Node.js server as upstream. */
export async function httpUpstream(listener: RequestListener) {
  const server = createHttpServer({ keepAliveTimeout: 60_000 }, listener).listen(0, "127.0.0.1");
  cleanUp.push(() => {
    server.closeAllConnections();
    server.close();
  });
  await once(server, "listening");
  return {
    server,
    address: { host: "127.0.0.1", port: (server.address() as AddressInfo).port, tls: undefined },
  };
}

/** An upstream that does with each connection what it is told. */
export async function rawUpstream(serve: (socket: Socket, number: number) => void) {
  let number = 0;
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
    serve(socket, number++);
  }).listen(0, "127.0.0.1");
  cleanUp.push(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  await once(server, "listening");
  return {
    connections: () => number,
    address: { host: "127.0.0.1", port: (server.address() as AddressInfo).port, tls: undefined },
  };
}

/** A guest's connection; with `allowHalfOpen` it sends on after the service has ended its side. */
export function guestSocket(port: number, from = "127.0.0.2", allowHalfOpen = false) {
  const socket = connect({ port, host: "127.0.0.1", localAddress: from, allowHalfOpen });
  cleanUp.push(() => socket.destroy());
  let error: string | undefined;
  socket.on("error", ({ code }: NodeJS.ErrnoException) => {
    error = code;
  });
  let received = "";
  socket.setEncoding("latin1").on("data", (text: string) => {
    received += text;
  });
  return {
    socket,
    send: (text: string | Buffer) => void socket.write(text),
    received: () => received,
    /** The name of the error that ended it. */
    error: () => error,
    async until(pattern: RegExp): Promise<string> {
      while (!pattern.test(received)) {
        await new Promise((resolve) => socket.once("data", resolve).once("close", resolve));
        if (socket.destroyed && !pattern.test(received))
          throw new Error(`closed after ${JSON.stringify(received)}`);
      }
      return received;
    },
    async closed(): Promise<string> {
      if (!socket.closed) await new Promise((resolve) => socket.once("close", resolve));
      return received;
    },
  };
}

/** A GET request. */
export const GET = (path: string, fields = "") => `GET ${path} HTTP/1.1\r\nHost: x\r\n${fields}\r\n`;
/** The field that has the service close the connection. */
export const CLOSE = "Connection: close\r\n";

/** Sends text on a connection of its own and gives all that comes until the service closes it. */
export function exchange(port: number, text: string | Buffer, from?: string): Promise<string> {
  const guest = guestSocket(port, from);
  guest.send(text);
  return guest.closed();
}

/** Of an answer on the wire. */
export const statusOf = (answer: string) => Number(answer.split(" ")[1]);
/** Of an answer on the wire. */
export const bodyOf = (answer: string) => answer.slice(answer.indexOf("\r\n\r\n") + 4);

/** An upstream that tells what it got. */
export const echo: RequestListener = (request, response) => {
  const hash = createHash("sha256");
  let length = 0;
  request.on("data", (bytes: Buffer) => {
    hash.update(bytes);
    length += bytes.length;
  });
  request.on("end", () => {
    const { method, url, headers } = request;
    response.end(JSON.stringify({ method, url, headers, length, hash: hash.digest("hex") }));
  });
};
