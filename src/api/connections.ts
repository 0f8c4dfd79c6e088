import type { Server } from "node:http";
import type { Socket } from "node:net";

/**
 * Bounds the connections of a server. One more than `most` closes the one that has gone longest without a request under way: idle clients, of
 * whom any user of the host can have many, keep nobody out. Where all have a request under way, the new one is closed.
 */
export function limitConnections(server: Server, most: number): void {
  const open = new Set<Socket>();
  /** The longest idle first. */
  const idle = new Set<Socket>();

  function forget(socket: Socket): void {
    open.delete(socket);
    idle.delete(socket);
  }

  server.on("connection", (socket) => {
    open.add(socket);
    idle.add(socket);
    socket.once("close", () => forget(socket));
    const [longest] = idle;
    if (open.size <= most || longest === undefined) return;
    forget(longest);
    longest.destroy();
  });
  server.on("request", ({ socket }, response) => {
    idle.delete(socket);
    response.once("close", () => {
      if (open.has(socket)) idle.add(socket);
    });
  });
}
