import { type IncomingMessage, request } from "node:http";
import { text } from "node:stream/consumers";
import { type EventBody, parseMessages } from "./events.ts";
import type { StatusBody } from "./status.ts";

/** No agent answers on the socket. */
export class NoAgentError extends Error {
  override readonly name = "NoAgentError";
}

/** Longest wait for an answer of the agent, in ms. */
const TIMEOUT = 10_000;

/** Asks the agent for its status. Throws `NoAgentError` when none listens on the socket. */
export async function fetchStatus(socket: string): Promise<StatusBody> {
  return JSON.parse(await text(await get(socket, "/v1/status"))) as StatusBody;
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

/** The answer with status 200, its body still to be read. */
function get(socket: string, path: string): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const asked = request({ socketPath: socket, path, timeout: TIMEOUT, agent: false }, (response) => {
      if (response.statusCode === 200) resolve(response);
      else {
        text(response).then(
          (body) => reject(new Error(`the agent on ${socket} answered ${response.statusCode}: ${body}`)),
          reject,
        );
      }
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
    asked.end();
  });
}
