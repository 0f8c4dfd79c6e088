import { connect, isIP, isIPv4, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import { connectTcp, type TcpConnection, type TcpEvents } from "../linux/tcp.ts";
import type { UpstreamAddress } from "./upstream-connection.ts";

/** What carries bytes to an upstream and back. */
export type Transport = Pick<TcpConnection, "write" | "setReading" | "destroy">;

/** Connects; `events` hear of it. TLS, names and IPv6 take a socket of Node.js, which costs more time for each message. */
export function openTransport({ host, port, tls }: UpstreamAddress, events: TcpEvents): Transport {
  if (tls === undefined && isIPv4(host)) return connectTcp({ address: host, port }, events);
  const where = { host, port, noDelay: true };
  if (tls === undefined) return carry(connect(where), "connect", events);
  // An address is no server name (RFC 6066 s. 3), but the certificate must be for it all the same.
  const socket = connectTls({ ...where, secureContext: tls, ...(isIP(host) === 0 && { servername: host }) });
  return carry(socket, "secureConnect", events);
}

function carry(socket: Socket, connected: "connect" | "secureConnect", events: TcpEvents): Transport {
  let reason: string | undefined;
  socket.on(connected, () => events.connected?.());
  socket.on("data", (bytes) => events.data(bytes, 0, bytes.length));
  socket.on("drain", events.drained);
  socket.on("end", events.ended);
  socket.on("error", (error) => {
    reason = error.message;
  });
  socket.on("close", () => events.closed(reason));
  return {
    // What a guest sent is in memory that is soon used again.
    write: (data) => socket.write(typeof data === "string" ? Buffer.from(data, "latin1") : Buffer.from(data)),
    setReading: (reading) => void (reading ? socket.resume() : socket.pause()),
    destroy: () => void socket.destroy(),
  };
}
