import { request } from "node:http";
import type { StatusBody } from "./status.ts";

/** No agent answers on the socket. */
export class NoAgentError extends Error {
  override readonly name = "NoAgentError";
}

/** Longest wait for an answer of the agent, in ms. */
const TIMEOUT = 10_000;

/** Asks the agent for its status. Throws `NoAgentError` when none listens on the socket. */
export async function fetchStatus(socket: string): Promise<StatusBody> {
  const { code, body } = await get(socket, "/v1/status");
  if (code !== 200) throw new Error(`the agent on ${socket} answered ${code}: ${body}`);
  return JSON.parse(body) as StatusBody;
}

function get(socket: string, path: string): Promise<{ code: number | undefined; body: string }> {
  return new Promise((resolve, reject) => {
    const asked = request({ socketPath: socket, path, timeout: TIMEOUT, agent: false }, (response) => {
      let body = "";
      response.setEncoding("utf8");
      response.on("data", (chunk: string) => {
        body += chunk;
      });
      response.on("end", () => resolve({ code: response.statusCode, body }));
      response.on("error", reject);
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
