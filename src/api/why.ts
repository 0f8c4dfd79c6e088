import * as z from "zod";
import type { Agent } from "../agent/agent.ts";
import { whyLinkSchema } from "../agent/why.ts";
import { WhyError } from "../agent/why-facts.ts";
import { isIpv4 } from "../packet/address.ts";
import { ApiError, ERRORS } from "./errors.ts";
import type { InJson } from "./json.ts";
import type { ApiServer } from "./schemas.ts";

const whySchema = z
  .strictObject({
    interface: z.string().describe("The guest's vif."),
    addresses: z.array(z.string()).describe("The guest's own addresses, as configured."),
    to: z.strictObject({ address: z.string(), port: z.int().optional() }),
    links: z
      .array(whyLinkSchema)
      .describe("In the order of a packet; the first that is broken is the one to mend."),
  })
  .meta({ id: "Why", description: "Why a guest does, or does not, reach a service." });

/** The body of `GET /v1/why`. */
export type WhyBody = InJson<z.output<typeof whySchema>>;

const STATUS_CODES = { unknown: 404, ambiguous: 409 } as const;

/** `GET /v1/why`. */
export function registerWhy(server: ApiServer, agent: Pick<Agent, "why">): void {
  server.get(
    "/v1/why",
    {
      schema: {
        summary: "Why a guest does not reach a service: what the datapath has seen, link by link",
        querystring: z.strictObject({
          guest: z
            .string()
            .min(1)
            .max(255)
            .describe("Name of its vif, instance id, an address, metadata address or MAC."),
          address: z
            .string()
            .refine(isIpv4, "expected an IPv4 address, such as 169.254.169.254")
            .optional()
            .describe("The service address; 169.254.169.254 unless given."),
          port: z.coerce.number().int().min(1).max(65_535).optional(),
        }),
        response: { 200: whySchema, ...ERRORS },
      },
    },
    async ({ query }) => {
      try {
        return agent.why(query);
      } catch (error) {
        if (error instanceof WhyError) throw new ApiError(STATUS_CODES[error.kind], error.message);
        throw error;
      }
    },
  );
}
