import * as z from "zod";
import type { Agent } from "../agent/agent.ts";
import { type AgentStatus, agentStatusSchema } from "../agent/status.ts";
import { ERRORS } from "./errors.ts";
import type { InJson } from "./json.ts";
import type { ApiServer } from "./schemas.ts";

/** The body of `GET /v1/status`. */
export type StatusBody = InJson<AgentStatus>;

/** `GET /v1/status`. */
export function registerStatus(server: ApiServer, agent: Pick<Agent, "status">): void {
  server.get(
    "/v1/status",
    {
      schema: {
        summary: "What the agent and its datapath are doing now",
        querystring: z.strictObject({}),
        response: { 200: agentStatusSchema, ...ERRORS },
      },
    },
    async () => agent.status(),
  );
}
