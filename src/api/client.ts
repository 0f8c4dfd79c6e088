import { type IncomingMessage, request } from "node:http";
import { text } from "node:stream/consumers";
import type { GuestMetadata } from "../config/guest-metadata.ts";
import { type ErrorBody, errorSchema } from "./errors.ts";
import { type EventBody, parseMessages } from "./events.ts";
import { type FlowBody, type FlowsBody, MAX_FLOWS } from "./flows.ts";
import type { InterfaceBody, InterfacesBody } from "./interfaces.ts";
import type { ServicesBody } from "./services.ts";
import type { StatusBody } from "./status.ts";
import type { WhyBody } from "./why.ts";

/** No agent answers on the socket. */
export class NoAgentError extends Error {
  override readonly name = "NoAgentError";
}

/** The agent said no. */
export class RefusedError extends Error {
  override readonly name = "RefusedError";
  readonly statusCode: number;
  /** What is wrong, a line each. */
  constructor(statusCode: number, message: string) {
    super(message);
    this.statusCode = statusCode;
  }
}

/** Longest wait for an answer of the agent, in ms. */
const TIMEOUT = 10_000;

/** Asks the agent for its status. Throws `NoAgentError` when none listens on the socket. */
export function fetchStatus(socket: string): Promise<StatusBody> {
  return getJson(socket, "/v1/status");
}

/** Asks the agent for its services. Throws `NoAgentError` when none listens on the socket. */
export function fetchServices(socket: string): Promise<ServicesBody> {
  return getJson(socket, "/v1/services");
}

/** Asks the agent for its interfaces. Throws `NoAgentError` when none listens on the socket. */
export function fetchInterfaces(socket: string): Promise<InterfacesBody> {
  return getJson(socket, "/v1/interfaces");
}

/** Which flows: those for which all that is given holds, in the words of `GET /v1/flows`. */
export type FlowFilters = Partial<
  Record<"interface" | "service" | "guest" | "backend" | "protocol" | "state", string>
>;

/**
 * The flows page by page, `most` on a page at most; a page may be empty, with others to come. Throws `NoAgentError`, and `RefusedError` for a filter
 * that the agent does not take.
 */
export async function* fetchFlowPages(
  socket: string,
  { most, ...filters }: FlowFilters & { most: number },
): AsyncGenerator<FlowBody[]> {
  const given = Object.entries(filters).filter(([, value]) => value !== undefined);
  const query = new URLSearchParams({ ...Object.fromEntries(given), limit: `${Math.min(most, MAX_FLOWS)}` });
  const ask = () => getJson<FlowsBody>(socket, `/v1/flows?${query}`);
  for (let coming: Promise<FlowsBody> | undefined = ask(); coming !== undefined; ) {
    const { flows, next }: FlowsBody = await coming;
    coming = undefined;
    if (next !== undefined) {
      query.set("cursor", next);
      // The agent works on the next page while this one is read; what goes wrong is met when it is awaited.
      coming = ask();
      coming.catch(() => {});
    }
    yield flows;
  }
}

/**
 * The agent's recent events, and with `follow` those to come, with `flows` also of flows opened and closed from now on. Throws `NoAgentError`
 * when none listens on the socket, and an Error when the agent ends a stream that was to be followed.
 */
export async function* streamEvents(
  socket: string,
  { follow, flows }: { follow: boolean; flows: boolean },
): AsyncGenerator<EventBody> {
  const query = [...(follow ? ["follow"] : []), ...(flows ? ["flows"] : [])].join("&");
  const response = await get(socket, `/v1/events?${query}`);
  // Nothing may happen for long.
  response.setTimeout(0);
  response.setEncoding("utf8");
  try {
    yield* parseMessages(response);
  } catch (error) {
    throw new Error(
      `the agent on ${socket} ended the stream: it stopped, or events came faster than they were read`,
      { cause: error },
    );
  } finally {
    response.destroy();
  }
}

/** Why a guest does not reach a service. Throws `NoAgentError`, and `RefusedError` where no guest is meant, or several are. */
export async function fetchWhy(
  socket: string,
  { guest, address, port }: { guest: string; address?: string; port?: number },
): Promise<WhyBody> {
  const query = new URLSearchParams({ guest });
  if (address !== undefined) query.set("address", address);
  if (port !== undefined) query.set("port", String(port));
  return getJson(socket, `/v1/why?${query}`);
}

/** The interface `name`. Throws `NoAgentError`, and `RefusedError` where there is none. */
export function fetchInterface(socket: string, name: string): Promise<InterfaceBody> {
  return getJson(socket, interfacePath(name));
}

/** Registers the interface `name`. Throws `NoAgentError`, and `RefusedError` with a line for each field that is wrong. */
export async function putInterface(
  socket: string,
  name: string,
  registration: unknown,
): Promise<InterfaceBody> {
  const body = JSON.stringify(registration);
  return JSON.parse(await text(await send(socket, "PUT", interfacePath(name), body))) as InterfaceBody;
}

/** Takes the registration of the interface `name` back. Throws `NoAgentError` and `RefusedError`. */
export async function deleteInterface(socket: string, name: string): Promise<void> {
  await text(await send(socket, "DELETE", interfacePath(name)));
}

function interfacePath(name: string): string {
  return `/v1/interfaces/${encodeURIComponent(name)}`;
}

/** What counts for a guest, by the name of its interface or its instance id. Throws `NoAgentError`, and `RefusedError` where nothing is said. */
export function fetchGuestMetadata(socket: string, key: string): Promise<GuestMetadata> {
  return getJson(socket, metadataPath(key));
}

/** Says what counts for a guest. Throws `NoAgentError`, and `RefusedError` with a line for each field that is wrong. */
export async function putGuestMetadata(socket: string, key: string, document: unknown): Promise<void> {
  await text(await send(socket, "PUT", metadataPath(key), JSON.stringify(document)));
}

/** Applies a JSON merge patch to what counts for a guest. Throws like `putGuestMetadata`. */
export async function patchGuestMetadata(socket: string, key: string, patch: unknown): Promise<void> {
  await text(await send(socket, "PATCH", metadataPath(key), JSON.stringify(patch)));
}

/** Removes what was said about a guest. Throws `NoAgentError`, and `RefusedError` where nothing was. */
export async function deleteGuestMetadata(socket: string, key: string): Promise<void> {
  await text(await send(socket, "DELETE", metadataPath(key)));
}

function metadataPath(key: string): string {
  return `/v1/metadata/${encodeURIComponent(key)}`;
}

async function getJson<T>(socket: string, path: string): Promise<T> {
  return JSON.parse(await text(await get(socket, path))) as T;
}

function get(socket: string, path: string): Promise<IncomingMessage> {
  return send(socket, "GET", path);
}

/** The answer with status 200, its body still to be read. `content` is JSON. */
function send(
  socket: string,
  method: "GET" | "PUT" | "PATCH" | "DELETE",
  path: string,
  content?: string,
): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const headers = content === undefined ? {} : { "content-type": "application/json" };
    const options = { socketPath: socket, method, path, headers, timeout: TIMEOUT, agent: false };
    const asked = request(options, (response) => {
      if (response.statusCode === 200) resolve(response);
      else text(response).then((body) => reject(refusal(socket, response.statusCode ?? 0, body)), reject);
    });
    asked.on("timeout", () =>
      asked.destroy(new Error(`the agent on ${socket} did not answer within ${TIMEOUT / 1000} s`)),
    );
    asked.on("error", (error: NodeJS.ErrnoException) => {
      if (error.code === "ENOENT" || error.code === "ECONNREFUSED") {
        reject(new NoAgentError(`no agent answers on ${socket}`));
      } else if (error.code === "EACCES") {
        reject(new Error(`not allowed to open ${socket}; run this as the agent's user, root as a rule`));
      } else reject(error);
    });
    asked.end(content);
  });
}

/** The error that an answer other than 200 stands for: of the client's mistakes, what is wrong; else the answer as it is. */
function refusal(socket: string, statusCode: number, body: string): Error {
  const error = parseError(body);
  if (statusCode >= 400 && statusCode < 500 && error !== undefined)
    return new RefusedError(statusCode, error.message);
  return new Error(`the agent on ${socket} answered ${statusCode}: ${body}`);
}

function parseError(body: string): ErrorBody | undefined {
  try {
    return errorSchema.parse(JSON.parse(body));
  } catch {
    return undefined;
  }
}
