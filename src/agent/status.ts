import * as z from "zod";
import { REASONS } from "../datapath/layout.ts";
import type { Reason } from "../datapath/types.ts";
import { timeOfDay } from "./clock.ts";
import { type DrainingService, type ResolvedService, useOf } from "./services.ts";

/*
 * What an agent and its datapath are doing now. The schemas are the one place where it is described: the types are made of them, and the
 * API's document (src/api/openapi.ts) too. A schema with an `id` has a name of its own in there.
 */

const port = z.int().min(0).max(65_535);
const ifindex = z.int().min(1);

/** Frames, and their bytes with the Ethernet header. */
export const counterSchema = z
  .strictObject({ frames: z.bigint(), bytes: z.bigint() })
  .meta({ id: "Counter", description: "Frames, and their bytes with the Ethernet header." });

const countersSchema = z
  .record(z.enum(Object.keys(REASONS) as [Reason, ...Reason[]]), counterSchema)
  .meta({ id: "Counters", description: "Counters by the reason for the datapath's verdict." });

const healthSchema = z
  .strictObject({
    state: z.enum(["healthy", "unhealthy"]),
    since: z.iso.datetime(),
    error: z.string().optional().describe("Why the last check failed, where it did."),
  })
  .meta({ id: "BackendHealth", description: "What the health checks of a backend have found." });

/** Where a backend is. */
const place = {
  name: z.string().optional().describe("The name that leads to it, where the configuration has one."),
  address: z.string().optional().describe("Not there as long as the name leads nowhere."),
  port,
  health: healthSchema.optional().describe("Where the service has a health check."),
};

/** A backend: guests are sent to it, or the reason why not. */
const backendSchema = z
  .discriminatedUnion("state", [
    z.strictObject({
      ...place,
      state: z.literal("in use"),
      kind: z.enum(["host-local", "fabric"]),
      interface: z.string().optional().describe("Fabric: the interface that leads to it."),
      source: z.string().optional().describe("Fabric: the address of this host that the backend sees."),
    }),
    z.strictObject({ ...place, state: z.literal("out of use"), reason: z.string() }),
  ])
  .meta({ id: "Backend", description: "Where a service really runs: guests are sent to it, or why not." });

const trafficSchema = z.strictObject({
  flows: z.bigint().describe("Opened by guests."),
  refused: z.bigint().describe("Frames that would have opened one while no backend was in use."),
  framesOut: z.bigint().describe("From guests to backends."),
  bytesOut: z.bigint(),
  framesIn: z.bigint().describe("From backends to guests."),
  bytesIn: z.bigint(),
});

/** A service, with the state of its backends and its traffic. */
export const serviceStatusSchema = z
  .strictObject({
    name: z.string(),
    address: z.string(),
    port,
    protocols: z.array(z.enum(["tcp", "udp"])),
    backends: z.array(backendSchema),
    traffic: trafficSchema.describe(
      "Since the service is there. Frames and bytes are current, and up to two seconds late where there are more than 65,536 flows.",
    ),
  })
  .meta({ id: "Service", description: "A service, with the state of its backends and its traffic." });

/** What is counted where an interface is a vif. */
const counted = {
  flows: z.int().optional().describe("A vif: flows of its guest now."),
  counters: countersSchema
    .optional()
    .describe("A vif: since it was attached; frames of flows as in the traffic of a service."),
};

/** An interface; flows and counters (since it was attached) where it is a vif. */
export const interfaceStatusSchema = z
  .discriminatedUnion("state", [
    z.strictObject({
      name: z.string(),
      state: z.literal("attached"),
      ifindex,
      metadataAddress: z.string(),
      ...counted,
    }),
    z.strictObject({ name: z.string(), state: z.literal("fabric"), ifindex, ...counted }),
    z.strictObject({ name: z.string(), state: z.literal("failed"), ifindex, reason: z.string(), ...counted }),
    z.strictObject({ name: z.string(), state: z.literal("disabled"), ifindex, ...counted }),
    z.strictObject({ name: z.string(), state: z.literal("waiting"), ...counted }),
  ])
  .meta({
    id: "Interface",
    description:
      "An interface that the configuration or a registration names, or that fits a pattern. attached: a vif; fabric: it leads to fabric backends; disabled: by its registration; waiting: not there.",
  });

const drainingSchema = z
  .strictObject({ address: z.string(), port, protocol: z.enum(["tcp", "udp"]), ends: z.iso.datetime() })
  .meta({
    id: "DrainingService",
    description: "A service that is removed: it opens no flows, and those that it has end at the time given.",
  });

/** How a fabric interface stands. */
export const fabricSchema = z
  .discriminatedUnion("state", [
    z.strictObject({ name: z.string(), state: z.literal("attached"), ifindex }),
    z.strictObject({ name: z.string(), state: z.literal("failed"), ifindex, reason: z.string() }),
    z.strictObject({ name: z.string(), state: z.literal("waiting") }),
  ])
  .meta({ id: "FabricInterface", description: "An interface that leads to fabric backends." });

/** Where the configuration comes from, and whether the agent works by what the file says now. */
const configurationSchema = z
  .strictObject({
    file: z.string(),
    loaded: z.iso.datetime().describe("When it was last taken over."),
    errors: z
      .array(z.string())
      .optional()
      .describe("What is wrong with the file since; the configuration before it holds."),
  })
  .meta({ id: "Configuration", description: "The configuration file, as far as it was taken over." });

/** What an agent and its datapath are doing now. */
export const agentStatusSchema = z
  .strictObject({
    version: z.string().describe("The agent's version."),
    pid: z.int().describe("The agent's process id."),
    since: z.iso.datetime().describe("When the agent was ready."),
    configuration: configurationSchema,
    attach: z.enum(["tcx", "clsact"]).describe("How the datapath's programs hang on interfaces."),
    device: z.strictObject({ name: z.string(), address: z.string() }),
    problems: z.array(z.string()).describe("Why not all that is configured is in step; empty: it is."),
    services: z.array(serviceStatusSchema),
    draining: z.array(drainingSchema),
    interfaces: z.array(interfaceStatusSchema),
    fabric: z.array(fabricSchema),
    flows: z
      .strictObject({ now: z.int(), limit: z.int(), limitPerInterface: z.int() })
      .describe("Flows on the system now, and the limits on the system and per vif."),
    counters: countersSchema.describe("Since the datapath was made, over agent restarts."),
    eventsLost: z
      .bigint()
      .describe("Events that came too fast for the agent; since the datapath was made, over agent restarts."),
  })
  .meta({ id: "Status", description: "What the agent and its datapath are doing now." });

/** What an agent and its datapath are doing now. */
export type AgentStatus = z.output<typeof agentStatusSchema>;
/** Where the configuration comes from, and whether the agent works by what the file says now. */
export type ConfigurationStatus = z.output<typeof configurationSchema>;
/** A service, with the state of its backends and its traffic. */
export type ServiceStatus = z.output<typeof serviceStatusSchema>;
/** The same without what only counts. */
export type ServiceState = Omit<ServiceStatus, "traffic">;
/** A backend: guests are sent to it, or the reason why not. */
export type BackendStatus = z.output<typeof backendSchema>;
/** An interface; flows and counters (since it was attached) where it is a vif. */
export type InterfaceStatus = z.output<typeof interfaceStatusSchema>;

/** The status of a service that is removed. */
export function drainingStatus({ key, ends }: DrainingService): z.output<typeof drainingSchema> {
  return { ...key, ends: timeOfDay(ends) };
}

/** The status of one service, its traffic left out. */
export function serviceState({ service, backends }: ResolvedService): ServiceState {
  return {
    name: service.name,
    address: service.address,
    port: service.port,
    protocols: service.protocol,
    backends: backends.map(backendStatus),
  };
}

function backendStatus(backend: ResolvedService["backends"][number]): BackendStatus {
  const { name, address, port, health } = backend;
  const use = useOf(backend);
  // Written out, with no spread: there are thousands, made anew for each scrape of the metrics, and a copied object takes several times the memory.
  if (!use.inUse) return { name, address, port, health, state: "out of use", reason: use.reason };
  const { entry } = use;
  if (entry.kind === "host-local") return { name, address, port, health, state: "in use", kind: entry.kind };
  const { kind, source } = entry;
  return { name, address, port, health, state: "in use", kind, source, interface: use.interface };
}
