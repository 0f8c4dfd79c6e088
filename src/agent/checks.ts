/** One health check of a backend, from this host: a TCP connection, or an HTTP request. */
import { request } from "node:http";
import { connect } from "node:net";
import { formatDuration } from "../config/duration.ts";
import type { HealthCheck } from "../config/schema.ts";
import { messageOf } from "./errors.ts";
import type { Endpoint } from "./targets.ts";

/** Checks a backend once. Gives the reason why it failed, or undefined. Never throws; ends early when the signal says so. */
export type Check = (
  endpoint: Endpoint,
  check: HealthCheck,
  signal: AbortSignal,
) => Promise<string | undefined>;

/** Failures in words, by the codes of the system. */
const FAILURES: Readonly<Record<string, string>> = {
  ECONNREFUSED: "connection refused",
  ECONNRESET: "connection reset",
  EHOSTUNREACH: "host unreachable",
  ENETUNREACH: "network unreachable",
};

/** See `Check`. The backend's own port is checked, unless the check has another. */
export const checkBackend: Check = async (endpoint, check, signal) => {
  const end = new AbortController();
  const abort = () => end.abort();
  const timer = setTimeout(abort, check.timeout);
  signal.addEventListener("abort", abort);
  const asked = { ...endpoint, port: check.port ?? endpoint.port };
  try {
    return await (check.type === "tcp" ? connected(asked, end.signal) : fetched(asked, check, end.signal));
  } catch (error) {
    if (end.signal.aborted) return `no answer in ${formatDuration(check.timeout)}`;
    return FAILURES[(error as NodeJS.ErrnoException).code ?? ""] ?? messageOf(error);
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", abort);
  }
};

function connected({ address, port }: Endpoint, signal: AbortSignal): Promise<undefined> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: address, port, signal });
    socket.on("error", reject);
    socket.once("connect", () => {
      socket.destroy();
      resolve(undefined);
    });
  });
}

/** 2xx and 3xx are right; a redirection is not followed, and the body is not read. */
function fetched(
  { address, port, name }: Endpoint,
  { path = "/" }: HealthCheck,
  signal: AbortSignal,
): Promise<string | undefined> {
  return new Promise((resolve, reject) => {
    const headers = { host: `${name ?? address}:${port}`, "user-agent": "onlink" };
    const asked = request({ host: address, port, path, headers, agent: false, signal });
    asked.on("error", reject);
    asked.once("response", (response) => {
      const { statusCode: status = 0 } = response;
      response.on("error", reject);
      response.destroy();
      resolve(status >= 200 && status < 400 ? undefined : `HTTP status ${status}`);
    });
    asked.end();
  });
}
