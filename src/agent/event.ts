import * as z from "zod";

/*
 * What the agent reports, in the words of the configuration. As with the status (status.ts), the types and the API's document come of the
 * schemas.
 */

/** When, and which interface: its name, or `ifindex 7` where it is gone already. */
const where = { time: z.iso.datetime().describe("The time of day in UTC."), interface: z.string() };

const port = z.int().min(0).max(65_535);
const protocol = z.string().describe("tcp, udp, icmp, or a number as text.");

/** Which flow: both ends as the guest sees them. */
const flowEnds = {
  protocol,
  guest: z.string(),
  guestPort: port,
  service: z.string(),
  servicePort: port.describe("ICMP: the identifier."),
};

const backend = { backend: z.string(), backendPort: port };

/** What happened. */
export const agentEventSchema = z
  .discriminatedUnion("kind", [
    z
      .strictObject({ kind: z.literal("conflict"), ...where, service: z.string(), mac: z.string() })
      .describe("A guest claims a service address for itself (row A3)."),
    z
      .strictObject({
        kind: z.literal("spoofed"),
        ...where,
        guest: z.string(),
        service: z.string(),
        protocol,
        mac: z.string(),
      })
      .describe("A guest used a source address that is not its own (row I7)."),
    z
      .strictObject({ kind: z.literal("limit"), ...where, ...flowEnds })
      .describe("A new flow was refused (row I8)."),
    z
      .strictObject({ kind: z.literal("flow-opened"), ...where, ...flowEnds, ...backend })
      .describe("A flow was opened."),
    z
      .strictObject({
        kind: z.literal("flow-closed"),
        ...where,
        ...flowEnds,
        ...backend,
        framesOut: z.bigint().describe("Guest to backend."),
        bytesOut: z.bigint(),
        framesIn: z.bigint(),
        bytesIn: z.bigint(),
      })
      .describe("A flow ended."),
    z
      .strictObject({ kind: z.literal("lost"), time: where.time, lost: z.bigint() })
      .describe("So many events were lost since the last one of these: they came too fast."),
  ])
  .meta({ id: "Event", description: "What happened: the data of a message of GET /v1/events." });

/** What happened. */
export type AgentEvent = z.output<typeof agentEventSchema>;
