import * as z from "zod";
import type { Agent } from "../agent/agent.ts";
import { serviceStatusSchema } from "../agent/status.ts";
import { ApiError, ERRORS } from "./errors.ts";
import type { InJson } from "./json.ts";
import type { ApiServer } from "./schemas.ts";

const servicesSchema = z
  .strictObject({ services: z.array(serviceStatusSchema) })
  .meta({ id: "Services", description: "All services, in the order of the configuration." });

/** The body of `GET /v1/services`. */
export type ServicesBody = InJson<z.output<typeof servicesSchema>>;

/** `GET /v1/services` and `GET /v1/services/NAME`. */
export function registerServices(server: ApiServer, agent: Pick<Agent, "addCounts" | "services">): void {
  server.get(
    "/v1/services",
    {
      schema: {
        summary: "All services, with the state of their backends",
        querystring: z.strictObject({}),
        response: { 200: servicesSchema, ...ERRORS },
      },
    },
    async () => {
      agent.addCounts();
      return { services: agent.services() };
    },
  );
  server.get(
    "/v1/services/:name",
    {
      schema: {
        summary: "One service, with the state of its backends",
        params: z.strictObject({ name: z.string() }),
        querystring: z.strictObject({}),
        response: { 200: serviceStatusSchema, ...ERRORS },
      },
    },
    async ({ params }) => {
      agent.addCounts();
      const found = agent.services().find(({ name }) => name === params.name);
      if (found === undefined)
        throw new ApiError(
          404,
          `no service ${JSON.stringify(params.name)}; GET /v1/services has all of them`,
        );
      return found;
    },
  );
}
