import { chmodSync, lstatSync, rmSync, statSync } from "node:fs";
import { connect } from "node:net";
import { dirname } from "node:path";
import fastify from "fastify";
import type { Agent } from "../agent/agent.ts";
import { setErrorForm } from "./errors.ts";
import { registerEvents } from "./events.ts";
import { registerFlows } from "./flows.ts";
import { registerGuestMetadata } from "./guest-metadata.ts";
import { registerHealth } from "./health.ts";
import { registerInterfaces } from "./interfaces.ts";
import { type Metrics, registerMetrics } from "./metrics.ts";
import { collectRoutes, registerOpenApi } from "./openapi.ts";
import { type ApiServer, ZOD_SCHEMAS, type ZodTypes } from "./schemas.ts";
import { registerServices } from "./services.ts";
import { registerStatus } from "./status.ts";
import { registerWhy } from "./why.ts";

/** What the API needs of an agent. */
export type ApiAgent = Omit<Agent, "stop" | "reload" | "summary" | "ports">;

/** What the API answers from. */
export interface ApiOptions {
  /** Path of the UNIX socket; only the agent's user may open it. */
  socket: string;
  agent: ApiAgent;
  metrics: Metrics;
}

/**
 * Serves the API on a UNIX socket; `GET /v1/openapi.json` has its paths. A socket that a dead process left is replaced; one that answers
 * belongs to somebody else and is an error.
 */
export async function serveApi({ socket, agent, metrics }: ApiOptions): Promise<{ close(): Promise<void> }> {
  if (await isAnswered(socket)) {
    throw new Error(`${socket} is in use by another process; give api.socket another path`);
  }
  checkIsSocket(socket);
  rmSync(socket, { force: true });
  const server = await createApi(agent, metrics);
  try {
    await server.listen({ path: socket });
    chmodSync(socket, 0o600);
  } catch (error) {
    await server.close();
    throw new Error(`cannot serve the API on ${socket}: ${(error as Error).message}`, { cause: error });
  }
  return { close: () => server.close() };
}

/** The API's server, not listening yet. */
export async function createApi(agent: ApiAgent, metrics: Metrics): Promise<ApiServer> {
  const server = fastify({
    logger: false,
    forceCloseConnections: true,
    schemaController: ZOD_SCHEMAS,
  }).withTypeProvider<ZodTypes>();
  setErrorForm(server);
  const routes = collectRoutes(server);
  registerStatus(server, agent);
  registerServices(server, agent);
  registerInterfaces(server, agent);
  registerFlows(server, agent);
  registerEvents(server, agent);
  registerHealth(server, agent);
  registerWhy(server, agent);
  registerMetrics(server, agent, metrics);
  registerGuestMetadata(server, agent);
  registerOpenApi(server, agent.version, routes);
  return server;
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
