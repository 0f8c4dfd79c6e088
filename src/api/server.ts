import { chmodSync, lstatSync, rmSync, statSync } from "node:fs";
import type { ServerResponse } from "node:http";
import { connect } from "node:net";
import { dirname } from "node:path";
import fastify from "fastify";
import type { Agent } from "../agent/agent.ts";
import { formatMessage } from "./events.ts";
import { inJson, type StatusBody } from "./status.ts";

/** What the API answers from. */
export interface ApiOptions {
  /** Path of the UNIX socket; only the agent's user may open it. */
  socket: string;
  agent: Pick<Agent, "status" | "events">;
}

/**
 * What a client may leave unread, in bytes: one that is slower than that is cut off, so that it cannot fill the agent's memory. More than
 * all the recent events take.
 */
const MAX_UNREAD = 2 ** 20;

/**
 * Serves the API (`GET /v1/status`, `GET /v1/events`) on a UNIX socket. A socket that a dead process left is replaced; one that answers
 * belongs to somebody else and is an error.
 */
export async function serveApi({ socket, agent }: ApiOptions): Promise<{ close(): Promise<void> }> {
  if (await isAnswered(socket)) {
    throw new Error(`${socket} is in use by another process; give api.socket another path`);
  }
  checkIsSocket(socket);
  rmSync(socket, { force: true });
  const server = fastify({ logger: false, forceCloseConnections: true });
  server.get("/v1/status", async (): Promise<StatusBody> => inJson(agent.status()));
  server.get<{ Querystring: EventsQuery }>("/v1/events", ({ query }, reply) => {
    reply.hijack();
    sendEvents(agent.events, query, reply.raw);
  });
  try {
    await server.listen({ path: socket });
    chmodSync(socket, 0o600);
  } catch (error) {
    await server.close();
    throw new Error(`cannot serve the API on ${socket}: ${(error as Error).message}`, { cause: error });
  }
  return { close: () => server.close() };
}

/**
 * Throws where the API could not be served on this path: for the agent to find out before it changes anything on the host. `runtimeDir`
 * need not be there yet.
 */
export function checkSocketPath(socket: string, runtimeDir: string): void {
  const folder = dirname(socket);
  if (folder !== runtimeDir && !statSync(folder, { throwIfNoEntry: false })?.isDirectory()) {
    throw new Error(
      `cannot serve the API on ${socket}: ${folder} is no directory; make it, or change api.socket`,
    );
  }
  checkIsSocket(socket);
}

/** Throws where there is something else than a socket, which is not ours to remove. */
function checkIsSocket(path: string): void {
  if (lstatSync(path, { throwIfNoEntry: false })?.isSocket() === false) {
    throw new Error(
      `${path} is there already and is not a socket; remove it, or give api.socket another path`,
    );
  }
}

/** Both count when they are there, whatever their value. */
interface EventsQuery {
  follow?: string;
  flows?: string;
}

/** The recent events, and with `follow` those to come, as server-sent events. */
function sendEvents(events: Agent["events"], { follow, flows }: EventsQuery, response: ServerResponse): void {
  response.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-store" });
  response.flushHeaders();
  for (const event of events.recent()) response.write(formatMessage(event));
  if (follow === undefined) {
    response.end();
    return;
  }
  const unsubscribe = events.subscribe(
    (event) => {
      response.write(formatMessage(event));
      if (response.writableLength <= MAX_UNREAD) return;
      unsubscribe();
      response.destroy();
    },
    { flows: flows !== undefined },
  );
  response.once("close", unsubscribe);
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
