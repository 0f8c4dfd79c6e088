/**
 * OpenSDN's port API: paths, answers and errors as its agent has them (src/vnsw/agent/port_ipc there), for `vrouter-port-control` and others
 * that know no other. HTTP over TCP, for every user of this host.
 */
import type { AddressInfo } from "node:net";
import fastify, { type FastifyInstance, type FastifyReply } from "fastify";
import { messageOf } from "../agent/errors.ts";
import { parsePortId, parsePorts } from "../agent/port.ts";
import type { AgentPorts } from "../agent/ports.ts";
import { isLoopback } from "../config/ranges.ts";
import { isIpv4 } from "../packet/address.ts";
import { limitConnections } from "./connections.ts";
import { type MeasuredAgent, type Metrics, registerMetrics } from "./metrics.ts";
import { ZOD_SCHEMAS, type ZodTypes } from "./schemas.ts";

/** What the port API and the metrics beside it answer from. */
export interface PortApiOptions {
  /** Port 0: any that is free. */
  listen: { address: string; port: number };
  ports: AgentPorts;
  /** `GET /metrics` is served beside, since Prometheus reads no UNIX sockets. */
  measured: { agent: MeasuredAgent; metrics: Metrics };
}

/** In bytes: some thousand ports in one list. */
const MAX_BODY = 2 ** 21;
/** Connections at one time; see `limitConnections`. */
const MAX_CONNECTIONS = 64;
/** For a request to be complete, in ms, from its beginning or else that of the connection. */
const REQUEST_TIMEOUT = 10_000;
/** How often Node.js looks whom that concerns, in ms. */
const TIMEOUT_CHECK = 1_000;

/** For the next request on a connection, in ms: idle clients do not keep others out. */
const KEEP_ALIVE = 5_000;

/** Serves the port API, and metrics. Throws where it cannot listen. */
export async function servePortApi({
  listen,
  ...served
}: PortApiOptions): Promise<{ port: number; close(): Promise<void> }> {
  const server = createPortApi(served);
  limitConnections(server.server, MAX_CONNECTIONS);
  try {
    await server.listen({ host: listen.address, port: listen.port });
  } catch (error) {
    await server.close();
    throw new Error(
      `cannot serve OpenSDN's port API on ${listen.address}:${listen.port}: ${messageOf(error)}; change api.listen, or leave it out`,
      { cause: error },
    );
  }
  return { port: (server.server.address() as AddressInfo).port, close: () => server.close() };
}

/** The port API's server, not listening yet. */
export function createPortApi({ ports, measured }: Omit<PortApiOptions, "listen">): FastifyInstance {
  const server = fastify({
    logger: false,
    bodyLimit: MAX_BODY,
    http: { connectionsCheckingInterval: TIMEOUT_CHECK, headersTimeout: REQUEST_TIMEOUT },
    requestTimeout: REQUEST_TIMEOUT,
    keepAliveTimeout: KEEP_ALIVE,
    forceCloseConnections: true,
    exposeHeadRoutes: false,
    schemaController: ZOD_SCHEMAS,
  });
  // The body counts whatever its type is said to be, and may be empty.
  server.removeAllContentTypeParsers();
  server.addContentTypeParser("*", { parseAs: "string" }, (_request, body, done) => done(null, body));

  server.addHook("onRequest", async ({ headers }, reply) => {
    // A web page that a user of this host looks at could ask too: browsers say so, or name the page's host.
    const isBrowser = headers.origin !== undefined || headers["sec-fetch-site"] !== undefined;
    if (isBrowser || !isLoopbackHost(headers.host))
      return sendError(reply, 403, "{ Not for web pages, nor by a host name other than localhost }");
  });
  server.setNotFoundHandler((_request, reply) => sendError(reply, 404, "Unknown Request"));
  server.setErrorHandler((error, _request, reply) => {
    const { statusCode = 500 } = error as { statusCode?: number };
    return sendError(reply, statusCode, `{ ${messageOf(error)} }`);
  });

  registerMetrics(server.withTypeProvider<ZodTypes>(), measured.agent, measured.metrics);
  server.post("/port", async ({ body }, reply) => {
    ports.put(parsePorts(typeof body === "string" ? body : ""));
    return send(reply, 200, {});
  });
  server.post("/syncports", async (_request, reply) => {
    ports.sync();
    return send(reply, 200, {});
  });
  server.get<ById>("/port/:id", async ({ params }, reply) => {
    const id = parsePortId(params.id);
    if (id === undefined) return reply.callNotFound();
    const port = ports.port(id);
    return port === undefined ? sendError(reply, 404, "{ Not Found }") : send(reply, 200, port);
  });
  const change =
    (action: (id: string) => void) => async (request: { params: ById["Params"] }, reply: FastifyReply) => {
      const id = parsePortId(request.params.id);
      if (id === undefined) return reply.callNotFound();
      try {
        action(id);
      } catch (error) {
        return sendError(reply, 500, `{${messageOf(error)}}`);
      }
      return send(reply, 200, {});
    };
  server.delete<ById>(
    "/port/:id",
    change((id) => ports.remove(id)),
  );
  server.put<ById>(
    "/enable-port/:id",
    change((id) => ports.setLinkState(id, 1)),
  );
  server.put<ById>(
    "/disable-port/:id",
    change((id) => ports.setLinkState(id, 0)),
  );
  return server;
}

interface ById {
  Params: { id: string };
}

function send(reply: FastifyReply, statusCode: number, body: object): FastifyReply {
  return reply
    .status(statusCode)
    .header("content-type", "application/json; charset=UTF-8")
    .send(JSON.stringify(body));
}

function sendError(reply: FastifyReply, statusCode: number, error: string): FastifyReply {
  return send(reply, statusCode, { error });
}

/** Whether a Host header names this host by its loopback: `localhost`, 127.0.0.0/8 or `[::1]`, with a port or without. */
function isLoopbackHost(host: string | undefined): boolean {
  const [, name = ""] = /^(\[::1\]|[^:]+)(?::\d+)?$/.exec(host ?? "") ?? [];
  return /^localhost$/i.test(name) || name === "[::1]" || (isIpv4(name) && isLoopback(name));
}
