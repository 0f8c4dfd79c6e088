import { setImmediate as nextTurn } from "node:timers/promises";
import * as z from "zod";
import type { Service } from "../config/schema.ts";
import type { Datapath, Flow, FlowKey } from "../datapath/types.ts";
import { secondsBetween } from "./clock.ts";

/** States of a flow. */
export const FLOW_STATES = ["opening", "established", "closing"] satisfies Array<Flow["state"]>;
/** Protocols that a flow can have. */
export const FLOW_PROTOCOLS = ["tcp", "udp", "icmp"] satisfies Array<FlowKey["protocol"]>;

const port = z.int().min(0).max(65_535);
const seconds = z.number().min(0);

/** A flow, in the words of the configuration. */
export const flowStatusSchema = z
  .strictObject({
    interface: z.string().describe("The vif's name, or `ifindex 7` where it is gone already."),
    protocol: z.enum(FLOW_PROTOCOLS),
    guest: z.string(),
    guestPort: port,
    service: z.string().describe("The service address."),
    servicePort: port.describe("ICMP: the identifier."),
    serviceName: z.string().optional().describe("Absent where the host opened it, or the service is gone."),
    kind: z.enum(["host-local", "fabric"]),
    backend: z.string(),
    backendPort: port,
    source: z.string().describe("What the backend sees as the guest's address."),
    sourcePort: port,
    state: z.enum(FLOW_STATES),
    opener: z.enum(["guest", "host"]).describe("Who sent the first frame."),
    age: seconds.describe("Seconds since it was opened."),
    idle: seconds.describe("Seconds since its last frame."),
    framesOut: z.bigint().describe("Guest to backend."),
    bytesOut: z.bigint(),
    framesIn: z.bigint().describe("Backend to guest."),
    bytesIn: z.bigint(),
  })
  .meta({ id: "Flow", description: "A connection or exchange of datagrams." });

/** A flow, in the words of the configuration. */
export type FlowStatus = z.output<typeof flowStatusSchema>;

/** Which flows: those for which all that is given holds. */
export interface FlowWish {
  /** ifindex of the vif. */
  vif?: number | undefined;
  /** Name of a service. */
  service?: string | undefined;
  guest?: string | undefined;
  backend?: { address: string; port?: number | undefined } | undefined;
  protocol?: FlowKey["protocol"] | undefined;
  state?: Flow["state"] | undefined;
}

/** Part of a list of flows. */
export interface FlowList {
  flows: FlowStatus[];
  /** The cursor of the next page; absent on the last. */
  next?: string;
}

/** What `listFlows` works on. */
export interface FlowSources {
  datapath: Pick<Datapath, "flowPage">;
  services: readonly Service[];
  /** The name of the interface with an ifindex; undefined for one that is gone. */
  nameOf: (ifindex: number) => string | undefined;
}

/** Of a list in which few flows are wanted, so many pages of the datapath's are read for one page of it. */
export const MAX_PAGES = 10;

/**
 * A page of the flows that are wanted, of `limit` at most: fewer where few of those that were looked at are wanted, so that the work for a page
 * is bounded. Between the datapath's pages others get their turn. Throws `DatapathError` on a cursor that is none.
 */
export async function listFlows(
  { datapath, services, nameOf }: FlowSources,
  { cursor, limit, ...wish }: FlowWish & { cursor?: string | undefined; limit: number },
): Promise<FlowList> {
  const nameOfService = serviceNames(services);
  const flows: FlowStatus[] = [];
  let next = cursor;
  for (let pages = 0; pages < MAX_PAGES && flows.length < limit; pages++) {
    if (pages > 0) await nextTurn();
    const page = datapath.flowPage({ cursor: next, limit: limit - flows.length });
    const now = process.hrtime.bigint();
    for (const [key, flow] of page.flows) {
      const serviceName = flow.opener === "guest" ? nameOfService(key) : undefined;
      if (isWanted(key, flow, serviceName, wish)) {
        flows.push(inWords(key, flow, { interface: nameOf(key.vif), serviceName, now }));
      }
    }
    next = page.next;
    if (next === undefined) return { flows };
  }
  return { flows, ...(next !== undefined && { next }) };
}

/** Finds the name of the service that a guest asked for. */
function serviceNames(services: readonly Service[]): (key: FlowKey) => string | undefined {
  const text = (address: string, port: number, protocol: string) => `${address}:${port}/${protocol}`;
  const names = new Map(
    services.flatMap(({ name, address, port, protocol }) =>
      protocol.map((one) => [text(address, port, one), name] as const),
    ),
  );
  return ({ service, servicePort, protocol }) => names.get(text(service, servicePort, protocol));
}

function isWanted(key: FlowKey, flow: Flow, serviceName: string | undefined, wish: FlowWish): boolean {
  const { vif, service, guest, backend, protocol, state } = wish;
  return (
    (vif === undefined || vif === key.vif) &&
    (service === undefined || service === serviceName) &&
    (guest === undefined || guest === key.guest) &&
    (backend === undefined ||
      (backend.address === flow.backend &&
        (backend.port === undefined || backend.port === flow.backendPort))) &&
    (protocol === undefined || protocol === key.protocol) &&
    (state === undefined || state === flow.state)
  );
}

function inWords(
  { vif, guest, guestPort, service, servicePort, protocol }: FlowKey,
  flow: Flow,
  about: { interface: string | undefined; serviceName: string | undefined; now: bigint },
): FlowStatus {
  const { framesOut, bytesOut, framesIn, bytesIn } = flow;
  const { serviceName, now } = about;
  return {
    interface: about.interface ?? `ifindex ${vif}`,
    protocol,
    guest,
    guestPort,
    service,
    servicePort,
    ...(serviceName !== undefined && { serviceName }),
    kind: flow.kind,
    backend: flow.backend,
    backendPort: flow.backendPort,
    source: flow.nat,
    sourcePort: flow.natPort,
    state: flow.state,
    opener: flow.opener === "guest" ? "guest" : "host",
    age: secondsBetween(flow.opened, now),
    idle: secondsBetween(flow.lastSeen, now),
    framesOut,
    bytesOut,
    framesIn,
    bytesIn,
  };
}
