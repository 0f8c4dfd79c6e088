import * as z from "zod";
import type { Agent } from "../agent/agent.ts";
import { ERRORS } from "./errors.ts";
import type { ApiServer } from "./schemas.ts";

const healthSchema = z
  .strictObject({ healthy: z.boolean(), reasons: z.array(z.string()) })
  .meta({ id: "Health", description: "Whether the agent works, and if not, why." });

const readinessSchema = z
  .strictObject({ ready: z.boolean(), reasons: z.array(z.string()) })
  .meta({ id: "Readiness", description: "Whether all that is configured is in step, and if not, why." });

/**
 * `GET /v1/health`: 200 while the agent works, and `GET /v1/ready`: 200 while all that is configured is in step; else 503 with the reasons.
 */
export function registerHealth(server: ApiServer, agent: Pick<Agent, "health" | "readiness">): void {
  server.get(
    "/v1/health",
    {
      schema: {
        summary: "Does the agent work: is the datapath attached, is the host's network followed?",
        querystring: z.strictObject({}),
        response: { 200: healthSchema, 503: healthSchema, ...ERRORS },
      },
    },
    async (_request, reply) => {
      const reasons = agent.health();
      return reply.status(reasons.length === 0 ? 200 : 503).send({ healthy: reasons.length === 0, reasons });
    },
  );
  server.get(
    "/v1/ready",
    {
      schema: {
        summary: "Is all that is configured in step?",
        querystring: z.strictObject({}),
        response: { 200: readinessSchema, 503: readinessSchema, ...ERRORS },
      },
    },
    async (_request, reply) => {
      const reasons = agent.readiness();
      return reply.status(reasons.length === 0 ? 200 : 503).send({ ready: reasons.length === 0, reasons });
    },
  );
}
