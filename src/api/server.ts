import { chmodSync, rmSync } from "node:fs";
import { connect } from "node:net";
import fastify from "fastify";
import type { AgentStatus } from "../agent/status.ts";
import { inJson, type StatusBody } from "./status.ts";

/** What the API answers from. */
export interface ApiOptions {
  /** Path of the UNIX socket; only the agent's user may open it. */
  socket: string;
  status: () => AgentStatus;
}

/**
 * Serves the API (`GET /v1/status`) on a UNIX socket. A socket that a dead process left is replaced; one that answers
 * belongs to somebody else and is an error.
 */
export async function serveApi({ socket, status }: ApiOptions): Promise<{ close(): Promise<void> }> {
  if (await isAnswered(socket)) {
    throw new Error(`${socket} is in use by another process; give api.socket another path`);
  }
  rmSync(socket, { force: true });
  const server = fastify({ logger: false, forceCloseConnections: true });
  server.get("/v1/status", async (): Promise<StatusBody> => inJson(status()));
  try {
    await server.listen({ path: socket });
    chmodSync(socket, 0o600);
  } catch (error) {
    await server.close();
    throw new Error(`cannot serve the API on ${socket}: ${(error as Error).message}`, { cause: error });
  }
  return { close: () => server.close() };
}

function isAnswered(socket: string): Promise<boolean> {
  return new Promise((resolve) => {
    const connection = connect(socket);
    connection.once("connect", () => {
      connection.destroy();
      resolve(true);
    });
    connection.once("error", () => resolve(false));
  });
}
