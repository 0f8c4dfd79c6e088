/**
 * Why a guest does not reach a service: what the host has seen, link by link along the way of a packet, and the first link that is broken. Pure:
 * why-facts.ts gathers what it goes by.
 */
import * as z from "zod";
import type { ServiceState } from "./status.ts";

/** One link of the way between a guest and a service. */
export const whyLinkSchema = z
  .strictObject({
    link: z.enum(["vif", "service", "arp", "source", "limit", "packets", "backend", "answer", "metadata"]),
    state: z
      .enum(["ok", "broken", "unknown"])
      .describe("unknown: the host has seen nothing by which it could tell."),
    says: z.string().describe("What was seen."),
    age: z.number().optional().describe("Seconds since the last of what it goes by was seen."),
    mend: z.string().optional().describe("Where it is broken: what would help."),
  })
  .meta({ id: "WhyLink", description: "One link of the way between a guest and a service, in its order." });

/** One link of the way between a guest and a service. */
export type WhyLink = z.output<typeof whyLinkSchema>;

/** Something seen, and how many seconds ago. */
type Seen<T = object> = (T & { age: number }) | undefined;

/** What `diagnose` goes by. Ages are in seconds. */
export interface WhyFacts {
  /** Whom the guest asks; without a port, any service of the address. */
  to: { address: string; port?: number };
  vif:
    | {
        name: string;
        state: "attached";
        metadataAddress: string /** Whether the kernel has the program there still. */;
        present: boolean /** Whether the interface is up. */;
        up: boolean;
      }
    | { name: string; state: "failed"; reason: string }
    | { name: string; state: "fabric" | "disabled" | "waiting" | "not configured" };
  /** The guest's own addresses; empty: not known. */
  addresses: string[];
  antiSpoof: boolean;
  /** All services of the agent. */
  services: ServiceState[];
  seen: {
    arpAsked?: Seen<{ address: string }>;
    arpAnswered?: Seen<{ address: string }>;
    /** The last frame that opened a flow or was in none, and the MAC it went to. */
    sent?: Seen<{ service: string; toMac: string }>;
    spoofed?: Seen<{ address: string }>;
    /** Frames to a backend, from one, over a limit, to a port without a service, refused for want of a backend or of a port. */
    forwarded?: Seen;
    returned?: Seen;
    limit?: Seen;
    noBackend?: Seen;
    noPort?: Seen;
    unknownPort?: Seen;
  };
  /** The last claim of the address by another than onlink. */
  conflict?: Seen<{ interface: string; mac: string }>;
  /** MACs that answer rightly: the gateway MAC and those of the host's own interfaces. */
  hostMacs: ReadonlySet<string>;
  flows: { vif: number; vifLimit: number; system: number; systemLimit: number };
  /** What the metadata service last answered this guest; `identified`: the guest's instance is known. */
  metadata?: { status: number; age: number; identified: boolean } | undefined;
}

/** So long after a packet to the backend an answer is not missed yet, in s. */
const PATIENCE = 3;
/** What is older than this, in s, is not taken for the cause. */
const RECENT = 300;

/** The links from the guest to the service and back, as far as they can be told. The first broken one is the one to mend. */
export function diagnose(facts: WhyFacts): WhyLink[] {
  const links = [
    judgeVif(facts),
    judgeService(facts),
    judgeArp(facts),
    judgeSource(facts),
    judgeLimit(facts),
    judgePackets(facts),
    judgeBackend(facts),
    judgeAnswer(facts),
    judgeMetadata(facts),
  ];
  return links.filter((link) => link !== undefined);
}

/** The first link that is broken; undefined where none is. */
export function firstBroken(links: readonly WhyLink[]): WhyLink | undefined {
  return links.find(({ state }) => state === "broken");
}

function judgeVif({ vif }: WhyFacts): WhyLink {
  const { name } = vif;
  switch (vif.state) {
    case "attached":
      if (!vif.up)
        return broken(
          "vif",
          `${name} is down, so nothing comes from the guest`,
          `ip link set ${name} up; is the guest running?`,
        );
      if (vif.present) return ok("vif", `${name} is attached, metadata address ${vif.metadataAddress}`);
      return broken(
        "vif",
        `somebody has taken onlink's program off ${name}`,
        `restart the agent: it attaches the program anew; find out what removed it (tc qdisc, another eBPF tool)`,
      );
    case "failed":
      return broken(
        "vif",
        `${name} could not be attached: ${vif.reason}`,
        "mend that; the agent tries again by itself",
      );
    case "fabric":
      return broken(
        "vif",
        `${name} leads to fabric backends, so no guest is behind it`,
        "name the guest's own interface, or give the backends another way",
      );
    case "disabled":
      return broken("vif", `${name} is disabled by its registration`, "enable it: PUT /enable-port/UUID");
    case "waiting":
      return broken("vif", `there is no interface ${name} on this host`, "start the guest, or mend the name");
    case "not configured":
      return broken(
        "vif",
        `${name} is not attached: no entry of \`interfaces\` fits it`,
        `onlink interface add ${name}, or add a pattern to the configuration`,
      );
  }
}

/** The services of the address that the guest may mean. */
export function wantedServices({ to, services }: Pick<WhyFacts, "to" | "services">): ServiceState[] {
  return services.filter(
    ({ address, port }) => address === to.address && (to.port === undefined || port === to.port),
  );
}

function judgeService(facts: WhyFacts): WhyLink {
  const { to, services, seen } = facts;
  const wanted = wantedServices(facts);
  const describe = ({ name, port, protocols }: ServiceState) =>
    `${name} (${protocols.join(" and ")} ${port})`;
  if (wanted.length > 0) return ok("service", `${to.address} has ${wanted.map(describe).join(", ")}`);
  const others = services.filter(({ address }) => address === to.address);
  if (others.length > 0) {
    return broken(
      "service",
      `${to.address} has no service on port ${to.port}; it has ${others.map(describe).join(", ")}`,
      `add a service with port: ${to.port} to the configuration, or have the guest ask one of these`,
      seen.unknownPort?.age,
    );
  }
  const addresses = [...new Set(services.map(({ address }) => address))].join(", ");
  return broken(
    "service",
    `no service has the address ${to.address}; there are ${addresses}`,
    "add a service to the configuration, or have the guest ask one of these",
  );
}

function judgeArp({ to, vif, seen, conflict, hostMacs }: WhyFacts): WhyLink | undefined {
  if (vif.state !== "attached") return undefined;
  const { arpAsked, arpAnswered, sent, forwarded, returned } = seen;
  const impostor =
    sent !== undefined && sent.service === to.address && !hostMacs.has(sent.toMac)
      ? {
          age: sent.age,
          says: `the guest sends to ${sent.toMac}, which is neither the gateway MAC nor one of this host`,
        }
      : conflict !== undefined && conflict.age <= RECENT
        ? { age: conflict.age, says: `${conflict.mac} on ${conflict.interface} claims ${to.address}` }
        : undefined;
  if (impostor !== undefined) {
    // The datapath takes what comes by the vif whatever MAC it is for.
    const isServed =
      sent?.service === to.address &&
      sent.age <= impostor.age &&
      returned !== undefined &&
      returned.age <= sent.age;
    if (isServed)
      return ok(
        "arp",
        `somebody else answers for the address: ${impostor.says}; the guest is served all the same`,
        impostor.age,
      );
    return broken(
      "arp",
      `somebody else answers for the address: ${impostor.says}`,
      "take the address off that machine; until then the guest is served only while its vif is attached",
      impostor.age,
    );
  }
  if (arpAnswered?.address === to.address) return ok("arp", "asked and answered", arpAnswered.age);
  if (sent?.service === to.address)
    return ok("arp", `not asked: the guest sends to ${sent.toMac}, as a routed guest does`, sent.age);
  if (arpAsked?.address === to.address) {
    return broken(
      "arp",
      "asked, and not answered",
      `no service has had ${to.address} then; let the guest ask again`,
      arpAsked.age,
    );
  }
  if (forwarded !== undefined)
    return unknown("arp", "not asked for this address of late; the guest talks to services", forwarded.age);
  return broken(
    "arp",
    `the guest never asked for ${to.address}, nor sent anything to a service`,
    "look at its network: is its interface up, has it a route to the address? In the guest: the tables that `onlink explain` reads",
    arpAsked?.age,
  );
}

function judgeSource({ vif, seen, addresses, antiSpoof }: WhyFacts): WhyLink | undefined {
  const { spoofed, forwarded } = seen;
  if (vif.state !== "attached" || !antiSpoof || spoofed === undefined) return undefined;
  if (spoofed.age > RECENT || (forwarded !== undefined && forwarded.age < spoofed.age)) return undefined;
  const own = addresses.length === 0 ? "" : `; its addresses are ${addresses.join(", ")}`;
  return broken(
    "source",
    `packets from ${spoofed.address} were dropped as spoofed${own}`,
    `give the interface all of the guest's addresses (interfaces.addresses), or antiSpoof: false`,
    spoofed.age,
  );
}

function judgeLimit({ vif, seen: { limit }, flows }: WhyFacts): WhyLink | undefined {
  if (vif.state !== "attached") return undefined;
  const { vif: now, vifLimit, system, systemLimit } = flows;
  const says = `${now} of at most ${vifLimit} flows; on the system ${system} of ${systemLimit}`;
  const full = now >= vifLimit || system >= systemLimit;
  if (!full && (limit === undefined || limit.age > RECENT)) return ok("limit", says);
  const which = system >= systemLimit ? "limits.flows" : "limits.flowsPerInterface";
  return broken(
    "limit",
    limit === undefined ? says : `a new flow was refused; now ${says}`,
    `see what opens so many (onlink flows --interface ${vif.name}), or raise ${which}`,
    limit?.age,
  );
}

function judgePackets({ to, vif, seen }: WhyFacts): WhyLink | undefined {
  if (vif.state !== "attached") return undefined;
  const { forwarded, sent, arpAnswered, noPort } = seen;
  if (noPort !== undefined && noPort.age <= (forwarded?.age ?? RECENT)) {
    return broken(
      "packets",
      "no source port was free towards the fabric backend",
      "make fabric.ports larger, or add backends",
      noPort.age,
    );
  }
  if (forwarded !== undefined) return ok("packets", "the guest sends to services", forwarded.age);
  if (sent !== undefined)
    return unknown("packets", `the guest sent to ${sent.service}; nothing of it went to a backend`, sent.age);
  if (arpAnswered === undefined) return unknown("packets", "none has come from the guest");
  return broken(
    "packets",
    `the guest asked for ${arpAnswered.address}, was answered, and has sent nothing since`,
    `look at its firewall, and at its neighbour table: has ${to.address} the gateway MAC?`,
    arpAnswered.age,
  );
}

function judgeBackend(facts: WhyFacts): WhyLink | undefined {
  const wanted = wantedServices(facts);
  if (wanted.length === 0) return undefined;
  const texts = wanted.flatMap(({ name, backends }) =>
    backends.map((backend) => ({
      service: name,
      inUse: backend.state === "in use",
      text: `${backend.address ?? backend.name}:${backend.port} ${backend.state}${backend.state === "in use" ? "" : `: ${backend.reason}`}`,
    })),
  );
  const dead = wanted.filter(({ name }) => !texts.some(({ service, inUse }) => service === name && inUse));
  const says = texts.map(({ text }) => text).join("; ");
  if (dead.length === 0) return ok("backend", says);
  return broken(
    "backend",
    `${dead.map(({ name }) => name).join(", ")} has no backend: ${says}`,
    "bring the backend up, or mend its address or health check in the configuration",
    facts.seen.noBackend?.age,
  );
}

function judgeAnswer(facts: WhyFacts): WhyLink | undefined {
  const { forwarded, returned } = facts.seen;
  if (forwarded === undefined) return undefined;
  if (returned !== undefined && returned.age <= forwarded.age + PATIENCE)
    return ok("answer", "backends answer", returned.age);
  if (forwarded.age < PATIENCE && returned === undefined)
    return unknown("answer", "the guest's packets went to a backend just now");
  const hostLocal = wantedServices(facts).some(({ backends }) =>
    backends.some((backend) => backend.state === "in use" && backend.kind === "host-local"),
  );
  return broken(
    "answer",
    returned === undefined
      ? "the guest's packets went to a backend, and none ever came back"
      : "the guest's packets went to a backend, and none has come back since",
    hostLocal
      ? "does this host's firewall drop what comes in at onlink0 (INPUT)? onlink check knows the rule"
      : "does the backend answer this host, and do answers come in at the interface that leads to it?",
    returned?.age ?? forwarded.age,
  );
}

function judgeMetadata({ metadata }: WhyFacts): WhyLink | undefined {
  if (metadata === undefined) return undefined;
  const { status, age, identified } = metadata;
  const says = `the last answer of the metadata service was ${status}`;
  if (!identified && status === 404) {
    return broken(
      "metadata",
      `${says}: it does not know who this guest is`,
      "give the interface an instanceId (onlink interface add NAME --instance-id UUID, or the configuration)",
      age,
    );
  }
  if (status === 401) {
    return broken(
      "metadata",
      `${says}: the guest asked without a token, or with a wrong one`,
      "a guest that knows no tokens (cloudbase-init) needs requireToken: false for its interface",
      age,
    );
  }
  if (status === 429)
    return broken("metadata", `${says}: too many requests`, "see what in the guest asks so often", age);
  if (status < 500) return ok("metadata", says, age);
  return broken(
    "metadata",
    says,
    "look at the upstream: onlink status has its health, the agent's log the reason",
    age,
  );
}

function ok(link: WhyLink["link"], says: string, age?: number): WhyLink {
  return { link, state: "ok", says, ...(age !== undefined && { age }) };
}

function unknown(link: WhyLink["link"], says: string, age?: number): WhyLink {
  return { link, state: "unknown", says, ...(age !== undefined && { age }) };
}

function broken(link: WhyLink["link"], says: string, mend: string, age?: number): WhyLink {
  return { link, state: "broken", says, mend, ...(age !== undefined && { age }) };
}
