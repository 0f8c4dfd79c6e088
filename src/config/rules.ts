import * as z from "zod";
import { isInPrefix, LINK_LOCAL_PREFIX } from "../packet/address.ts";
import { show, wrong } from "./fields.ts";
import { metadataSchema } from "./metadata-service.ts";
import { devicePeer, isPattern } from "./names.ts";
import { isPrefixWithin, isUnicast, overlap, prefixLength, RESERVED_LINK_LOCAL } from "./ranges.ts";
import {
  agentSchema,
  backendText,
  type Config,
  fabricSchema,
  type InterfaceRule,
  interfaceSchema,
  serviceSchema,
} from "./schema.ts";

/*
 * What the values of the configuration mean together, and which addresses may be used for what. The values by themselves
 * are the business of schema.ts.
 */

/** Where a value stands: field names and list positions from the top. */
export type Path = readonly PropertyKey[];

/** A rule that the value at `path` breaks. */
export interface Breach {
  path: Path;
  message: string;
}

/** Tells where a value stands, for messages that name a second place: `services[0] (line 4)`. */
export type Place = (path: Path) => string;

const USABLE_LINK_LOCAL = "169.254.1.0-169.254.254.255";
/** A pool holds at least 16 metadata addresses. */
const LONGEST_POOL_PREFIX = 28;
const IDENTITY_FIELDS = ["instanceId", "projectId", "addresses", "mac"] as const;

/**
 * What can be made of a file that may have errors: every value that is wrong by itself is left out, so that the rules can
 * look at the others and all errors are reported at once.
 */
const draftSchema = z.object({
  services: z.array(draft(serviceSchema.shape)).catch([]),
  interfaces: z.array(draft(interfaceSchema.shape)).catch([]),
  fabric: draft(fabricSchema.shape),
  agent: draft(agentSchema.shape),
  metadata: draft(metadataSchema.shape),
});
type Draft = z.output<typeof draftSchema>;

/**
 * The rules that the content of a file breaks; `place` words a second place for a message. Takes any value; `whole` is what was made of it where
 * each value is right by itself.
 */
export function findBreaches(content: unknown, place: Place, whole: Config | undefined): Breach[] {
  const config: Draft | undefined = whole ?? draftSchema.safeParse(content).data;
  if (config === undefined) return [];
  return [
    ...checkServiceAddresses(config, place),
    ...checkServicesApart(config, place),
    ...checkKinds(config, content),
    ...checkBackends(config, place),
    ...checkHealthChecks(config),
    ...checkInterfaceRules(config, place),
    ...checkGateways(config, place),
    ...checkOwnInterfaces(config),
    ...checkMetadataAddresses(config),
    ...checkMetadata(config, content),
  ];
}

/** The same for an interface that comes to a configuration that is right; paths begin at the interface. */
export function findInterfaceBreaches(
  rule: InterfaceRule,
  config: Pick<Config, "services" | "fabric" | "agent">,
  place: Place,
): Breach[] {
  const draft = { ...config, interfaces: [rule] };
  return [
    ...checkInterfaceRules(draft, place),
    ...checkGateways(draft, place),
    ...checkOwnInterfaces(draft),
  ].map(({ path, message }) => ({ path: path.slice(2), message }));
}

function* checkServiceAddresses({ services, agent }: Draft, place: Place): Generator<Breach> {
  const pool = agent.metadataAddresses;
  for (const [index, { address, allowAnyAddress }] of services.entries()) {
    if (address === undefined) continue;
    const path = ["services", index, "address"];
    if (RESERVED_LINK_LOCAL.some((prefix) => isInPrefix(address, prefix))) {
      yield { path, message: `${address} is reserved (RFC 3927 s. 2.1); expected ${USABLE_LINK_LOCAL}` };
    } else if (!isUnicast(address)) {
      yield { path, message: `${address} is not a unicast address; expected ${USABLE_LINK_LOCAL}` };
    } else if (!isInPrefix(address, LINK_LOCAL_PREFIX) && !allowAnyAddress) {
      const expected = `${USABLE_LINK_LOCAL}, or allowAnyAddress: true for this service`;
      yield { path, message: `${address} is not link-local; expected ${expected}` };
    } else if (pool !== undefined && isInPrefix(address, pool)) {
      const where = place(["agent", "metadataAddresses"]);
      yield { path, message: `${address} lies in the metadata addresses ${pool}; change it or ${where}` };
    }
  }
}

function* checkServicesApart({ services }: Draft, place: Place): Generator<Breach> {
  const names = new Map<string, number>();
  const taken = new Map<string, number>();
  for (const [index, { name, address, port, protocol }] of services.entries()) {
    if (name !== undefined) {
      const first = names.get(name);
      if (first === undefined) names.set(name, index);
      else {
        const path = ["services", index, "name"];
        yield { path, message: `${show(name)} is already the name of ${place(["services", first])}` };
      }
    }
    if (address === undefined || port === undefined) continue;
    for (const each of protocol ?? []) {
      const endpoint = `${each} ${address}:${port}`;
      const first = taken.get(endpoint);
      if (first === undefined) taken.set(endpoint, index);
      else {
        const mend = "change the address, port or protocol of one";
        const message = `${endpoint} is already taken by ${place(["services", first])}; ${mend}`;
        yield { path: ["services", index], message };
      }
    }
  }
}

/** Services of kind metadata run in the agent, the others in their backends. */
function* checkKinds({ services }: Draft, content: unknown): Generator<Breach> {
  // As they were written: of what is wrong by itself, the draft does not tell whether it is there.
  const given = (content as { services: Array<{ backends?: unknown } | null> }).services;
  for (const [index, { kind, protocol }] of services.entries()) {
    const path = ["services", index, "backends"];
    const hasBackends = given[index]?.backends !== undefined;
    if (kind === "nat" && !hasBackends) {
      yield { path, message: wrong(undefined, "a list", "at least one backend") };
    }
    if (kind !== "metadata") continue;
    if (hasBackends) {
      const mend = "expected none, or kind: nat for a server of your own";
      yield { path, message: `a service of kind metadata is served by the agent itself; ${mend}` };
    }
    if (protocol?.includes("udp")) {
      const message = "a service of kind metadata speaks HTTP; expected tcp";
      yield { path: ["services", index, "protocol"], message };
    }
  }
}

/** What the metadata service needs for its mode. */
function* checkMetadata({ metadata }: Draft, content: unknown): Generator<Breach> {
  const { mode, proxy } = metadata;
  // As it was written, like `given` above.
  const isGiven = (content as { metadata?: { proxy?: unknown } }).metadata?.proxy !== undefined;
  if (mode === "proxy" && !isGiven) {
    yield { path: ["metadata", "proxy"], message: "missing; mode proxy expects proxy: { upstream: ... }" };
  }
  if (proxy === undefined) return;
  const path = ["metadata", "proxy"];
  const [first, second] = (["secret", "secretFile", "secretEnv"] as const).filter(
    (name) => proxy[name] !== undefined,
  );
  if (second !== undefined) {
    yield { path: [...path, second], message: `${first} is given already; expected the secret in one place` };
  }
  const { tls, upstream } = proxy;
  if (tls === undefined) return;
  if (!upstream.some((url) => url.tls)) {
    yield {
      path: [...path, "tls"],
      message: "no upstream is asked over TLS; expected an https URL, or no tls",
    };
  }
  if ((tls.cert === undefined) !== (tls.key === undefined)) {
    const missing = tls.cert === undefined ? "cert" : "key";
    yield { path: [...path, "tls", missing], message: "missing; expected cert and key together" };
  }
}

function* checkBackends({ services }: Draft, place: Place): Generator<Breach> {
  const servedAt = firstByAddress(services);
  for (const [index, { backends }] of services.entries()) {
    const seen = new Set<string>();
    for (const [position, backend] of (backends ?? []).entries()) {
      const path = ["services", index, "backends", position];
      const text = backendText(backend);
      if (seen.has(text)) {
        yield { path, message: `${text} is given twice in this service; expected each backend once` };
      }
      seen.add(text);
      if ("name" in backend) continue;
      const { address } = backend;
      const service = servedAt.get(address);
      if (service !== undefined) {
        const where = place(["services", service]);
        const message = `${address} is the service address of ${where}; expected where the service really runs`;
        yield { path, message };
      }
    }
  }
}

/** The position of the first service at each service address. */
function firstByAddress(services: Draft["services"]): Map<string | undefined, number> {
  return new Map(services.map(({ address }, index) => [address, index] as const).reverse());
}

function* checkHealthChecks({ services }: Draft): Generator<Breach> {
  for (const [index, { healthCheck, kind, protocol = ["tcp"] }] of services.entries()) {
    if (healthCheck === undefined) continue;
    const path = ["services", index, "healthCheck"];
    if (kind === "metadata") {
      yield { path, message: "a service of kind metadata has no backends to check; expected none" };
    }
    if (healthCheck.type === "tcp" && healthCheck.path !== undefined) {
      yield { path: [...path, "path"], message: "only a check of type http asks for a path; expected none" };
    }
    if (!protocol.includes("tcp") && healthCheck.port === undefined) {
      const expected = "expected port: one on which the backends answer TCP or HTTP";
      yield { path, message: `the service is on udp alone, and checks are by TCP; ${expected}` };
    }
  }
}

function* checkInterfaceRules({ interfaces }: Pick<Draft, "interfaces">, place: Place): Generator<Breach> {
  const names = new Map<string, number>();
  for (const [index, rule] of interfaces.entries()) {
    const { name } = rule;
    if (name === undefined) continue;
    const first = names.get(name);
    if (first === undefined) names.set(name, index);
    else {
      const path = ["interfaces", index, "name"];
      yield { path, message: `${show(name)} is already the name of ${place(["interfaces", first])}` };
    }
    if (!isPattern(name)) continue;
    for (const field of IDENTITY_FIELDS.filter((field) => rule[field] !== undefined)) {
      const message = `identity belongs to one interface and ${show(name)} is a pattern; expected a full name`;
      yield { path: ["interfaces", index, field], message };
    }
    for (const field of ["instanceId", "hostname"] as const) {
      if (rule.metadata?.[field] === undefined) continue;
      const message = `belongs to one guest and ${show(name)} is a pattern; expected a full name`;
      yield { path: ["interfaces", index, "metadata", field], message };
    }
  }
}

/** A gateway is somebody else than the guest and the services. */
function* checkGateways(
  { interfaces, services }: Pick<Draft, "interfaces" | "services">,
  place: Place,
): Generator<Breach> {
  const servedAt = firstByAddress(services);
  for (const [index, { gateway, addresses }] of interfaces.entries()) {
    if (gateway === undefined) continue;
    const path = ["interfaces", index, "gateway", "address"];
    const { address } = gateway;
    const service = servedAt.get(address);
    if (service !== undefined) {
      const where = place(["services", service]);
      yield { path, message: `${address} is the service address of ${where}; expected the guest's gateway` };
    }
    if (addresses?.includes(address)) {
      const message = `${address} is one of the guest's own addresses; expected the guest's gateway`;
      yield { path, message };
    }
  }
}

/** Guests and fabric are never behind the loopback interface or the agent's own device. */
function* checkOwnInterfaces({
  interfaces,
  fabric,
  agent,
}: Pick<Draft, "interfaces" | "fabric" | "agent">): Generator<Breach> {
  const named: Array<[Path, string | undefined]> = [
    ...interfaces.map((rule, index): [Path, string | undefined] => [
      ["interfaces", index, "name"],
      rule.name,
    ]),
    ...(Array.isArray(fabric.interfaces) ? fabric.interfaces : []).map((name, index): [Path, string] => [
      ["fabric", "interfaces", index],
      name,
    ]),
  ];
  for (const [path, name] of named) {
    if (name === "lo") {
      yield { path, message: '"lo" is the loopback interface; expected another' };
    } else if (agent.device !== undefined && (name === agent.device || name === devicePeer(agent.device))) {
      yield { path, message: `${show(name)} is the agent's own device (agent.device); expected another` };
    }
  }
}

function* checkMetadataAddresses({ agent }: Draft): Generator<Breach> {
  const pool = agent.metadataAddresses;
  if (pool === undefined) return;
  const path = ["agent", "metadataAddresses"];
  if (!isPrefixWithin(pool, LINK_LOCAL_PREFIX)) {
    yield { path, message: `${pool} is not within ${LINK_LOCAL_PREFIX}; expected a part of it` };
  } else if (RESERVED_LINK_LOCAL.some((prefix) => overlap(prefix, pool))) {
    const reserved = RESERVED_LINK_LOCAL.join(" and ");
    const message = `${pool} holds reserved addresses (RFC 3927 s. 2.1); expected a prefix without ${reserved}`;
    yield { path, message };
  }
  if (prefixLength(pool) > LONGEST_POOL_PREFIX) {
    yield { path, message: `${pool} is too small; expected a /${LONGEST_POOL_PREFIX} or larger` };
  }
}

/** The fields of `shape`, each left out when it is missing or wrong; a default stands only for a missing one. */
function draft<Shape extends z.ZodRawShape>(shape: Shape) {
  const fields = Object.entries(shape).map(([name, field]) => [name, (field as z.ZodType).catch(undefined)]);
  const schema = z.object(Object.fromEntries(fields)).catch({}).prefault({});
  return schema as unknown as z.ZodType<{ [Name in keyof Shape]?: z.output<Shape[Name]> | undefined }>;
}
