import * as z from "zod";
import type { Agent } from "../agent/agent.ts";
import { FLOW_PROTOCOLS, FLOW_STATES, flowStatusSchema } from "../agent/flows.ts";
import { DatapathError } from "../datapath/errors.ts";
import { isIpv4 } from "../packet/address.ts";
import { ApiError, ERRORS } from "./errors.ts";
import type { InJson } from "./json.ts";
import type { ApiServer } from "./schemas.ts";

/** Most flows on a page. */
export const MAX_FLOWS = 1000;

const flowsSchema = z
  .strictObject({
    flows: z.array(flowStatusSchema),
    next: z.string().optional().describe("The cursor of the next page; absent on the last."),
  })
  .meta({ id: "Flows", description: "A page of the flows, in no order." });

/** The body of `GET /v1/flows`. */
export type FlowsBody = InJson<z.output<typeof flowsSchema>>;
/** A flow in it. */
export type FlowBody = FlowsBody["flows"][number];

const querySchema = z.strictObject({
  interface: z.string().optional().describe("Name of an interface."),
  service: z.string().optional().describe("Name of a service."),
  guest: z
    .string()
    .refine(isIpv4, { error: "expected an IPv4 address" })
    .optional()
    .describe("The guest's own address."),
  backend: z
    .string()
    .regex(/^[\d.]+(:\d{1,5})?$/, {
      error: "expected an IPv4 address, or one with a port such as 10.0.0.2:53",
    })
    .optional()
    .describe("Address of a backend, with or without its port."),
  protocol: z.enum(FLOW_PROTOCOLS).optional(),
  state: z.enum(FLOW_STATES).optional(),
  limit: z.coerce.number().int().min(1).max(MAX_FLOWS).default(MAX_FLOWS).describe("Most flows on the page."),
  cursor: z.string().optional().describe("`next` of the page before."),
});

/** `GET /v1/flows`. */
export function registerFlows(
  server: ApiServer,
  agent: Pick<Agent, "flows" | "interfaces" | "services">,
): void {
  server.get(
    "/v1/flows",
    {
      schema: {
        summary: "The flows, page by page",
        description:
          "A page may have fewer flows than `limit`, or none, where few of those that were looked at are asked for: there are more as long as it has `next`.",
        querystring: querySchema,
        response: { 200: flowsSchema, ...ERRORS },
      },
    },
    async ({ query: { interface: name, backend, ...query } }) => {
      const vif = name === undefined ? undefined : vifOf(agent, name);
      // A vif that is not there has no flows.
      if (name !== undefined && vif === undefined) return { flows: [] };
      if (query.service !== undefined && !agent.services().some((one) => one.name === query.service)) {
        throw new ApiError(
          404,
          `no service ${JSON.stringify(query.service)}; GET /v1/services has all of them`,
        );
      }
      const [address = "", port] = backend?.split(":") ?? [];
      try {
        return await agent.flows({
          ...query,
          vif,
          ...(backend !== undefined && {
            backend: { address, port: port === undefined ? port : Number(port) },
          }),
        });
      } catch (error) {
        // Without a number it is the cursor that was wrong, not the kernel that refused.
        if (error instanceof DatapathError && error.errno === 0) throw new ApiError(400, error.message);
        throw error;
      }
    },
  );
}

/** ifindex of an interface that the agent knows; undefined where it is not there. */
function vifOf({ interfaces }: Pick<Agent, "interfaces">, name: string): number | undefined {
  const found = interfaces.get(name);
  if (found === undefined)
    throw new ApiError(404, `no interface ${JSON.stringify(name)}; GET /v1/interfaces has all of them`);
  return found.state === "waiting" ? undefined : found.ifindex;
}
