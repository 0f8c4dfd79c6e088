/** Servers for tests and benchmarks: real processes in a namespace of a lab. */
import { builtFile, type Namespace } from "./lab.ts";
import type { LabProcess } from "./process.ts";

/** Where a server listens. */
export interface ServerAddress {
  /** An address of the namespace; `0.0.0.0` for all of them. */
  address: string;
  port: number;
}

async function startServer(file: string, namespace: Namespace, at: ServerAddress): Promise<LabProcess> {
  const server = await namespace.start([process.execPath, builtFile(file), at.address, String(at.port)]);
  await server.waitForLine(/^ready$/);
  return server;
}

/** Starts the HTTP server of `http-server.ts`; it listens when this resolves. */
export function startHttpServer(namespace: Namespace, at: ServerAddress): Promise<LabProcess> {
  return startServer("http-server.js", namespace, at);
}

/** Starts the DNS server of `dns-server.ts`; it is bound when this resolves. */
export function startDnsServer(namespace: Namespace, at: ServerAddress): Promise<LabProcess> {
  return startServer("dns-server.js", namespace, at);
}

/** Starts the HTTP client of `http-client.ts`, which asks `count` times. */
export function startHttpClient(
  namespace: Namespace,
  count: number,
  urls: readonly string[],
): Promise<LabProcess> {
  return namespace.start([process.execPath, builtFile("http-client.js"), String(count), ...urls]);
}
