/** OpenSDN's (Tungsten Fabric's, Contrail's) link-local services, from the global-vrouter-config to a configuration of onlink. */
import { isInPrefix, isIpv4, LINK_LOCAL_PREFIX } from "../packet/address.ts";
import { show } from "./fields.ts";
import { isHostName } from "./names.ts";
import { isLoopback, isUnicast, RESERVED_LINK_LOCAL } from "./ranges.ts";
import { parseXml, type XmlElement } from "./xml.ts";

/** A `linklocal_service_entry`: the values of each field as they were written, by the field's name in JSON. */
type Entry = ReadonlyMap<string, readonly unknown[]>;

/** What a global-vrouter-config says. */
export interface VrouterConfig {
  entries: Entry[];
  /** Its other settings, by name: they are the vRouter's. */
  others: string[];
}

/** What became of it. */
export interface Imported {
  /** As the configuration file has it; without `services` there is nothing to write. */
  config: { services: ImportedService[]; metadata?: object; interfaces: object[]; agent?: object };
  /** What could not be carried over, one sentence each. */
  lost: string[];
  /** What is carried over and to be looked at. */
  notes: string[];
}

/** An entry of `services` in the configuration file. */
export interface ImportedService {
  name: string;
  address: string;
  port: number;
  kind?: "metadata";
  protocol?: ["tcp", "udp"];
  backends?: string[];
  allowAnyAddress?: true;
}

const ENTRY = "linklocal_service_entry";
const SERVICES = "linklocal_services";
const MAX_DEPTH = 20;
/** Of every object of the API server; no settings. */
const IDENTITY =
  /^(uuid|name|fq_name|display_name|href|parent_\w+|id_perms|perms2|annotations|owner|config_version)$/;
/** Pools of metadata addresses, the default first, to be used where no service address lies in them. */
const POOLS = ["169.254.64.0/18", "169.254.128.0/18", "169.254.192.0/19", "169.254.32.0/19"];

/**
 * Reads a global-vrouter-config, as JSON of the API server or as XML, alone or inside of something larger. Throws SyntaxError where it is neither, or
 * has no `linklocal_services`.
 */
export function readVrouterConfig(text: string): VrouterConfig {
  const found: VrouterConfig & { hasServices: boolean } = { entries: [], others: [], hasServices: false };
  search(text.trimStart().startsWith("<") ? fromXml(parseXml(text)) : parseJson(text), found, 0);
  if (!found.hasServices) throw new SyntaxError(`no ${SERVICES} in it; expected a global-vrouter-config`);
  return { entries: found.entries, others: [...new Set(found.others)].sort() };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    // V8 quotes the text: what is not printable has no place on a terminal.
    const reason = (error as Error).message.replace(/[^\x20-\x7e]/g, "?");
    throw new SyntaxError(`neither XML nor JSON: ${reason}`);
  }
}

/** XML in the shape of the API server's JSON, every field a list. */
function fromXml(root: XmlElement): Record<string, unknown> {
  return { [root.name.replaceAll("-", "_")]: fieldsOf(root) };
}

function fieldsOf({ text, children }: XmlElement): unknown {
  if (children.length === 0) return text.trim();
  const fields = new Map<string, unknown[]>();
  for (const child of children) {
    const name = child.name.replaceAll("-", "_");
    fields.set(name, [...(fields.get(name) ?? []), fieldsOf(child)]);
  }
  return Object.fromEntries(fields);
}

function search(value: unknown, found: VrouterConfig & { hasServices: boolean }, depth: number): void {
  if (typeof value !== "object" || value === null || depth > MAX_DEPTH) return;
  if (Array.isArray(value)) {
    for (const item of value) search(item, found, depth + 1);
    return;
  }
  const fields = Object.entries(value);
  if (ENTRY in value) {
    found.hasServices = true;
    for (const entry of listOf(value[ENTRY])) found.entries.push(readEntry(entry));
  } else if (SERVICES in value) {
    found.hasServices = true;
    const others = fields.filter(
      ([name, other]) => other !== null && name !== SERVICES && !IDENTITY.test(name),
    );
    found.others.push(...others.map(([name]) => name));
    search(value[SERVICES], found, depth + 1);
  } else {
    for (const [, field] of fields) search(field, found, depth + 1);
  }
}

function readEntry(entry: unknown): Entry {
  const fields = typeof entry === "object" && entry !== null ? Object.entries(entry) : [];
  return new Map(fields.map(([name, value]) => [name, listOf(value).filter((one) => one !== "")]));
}

function listOf(value: unknown): unknown[] {
  if (value === null || value === undefined) return [];
  return Array.isArray(value) ? value : [value];
}

/**
 * Turns it into a configuration of onlink. It has the rules of rules.ts in mind, but is to be checked like any other: where no pool of metadata addresses
 * is free of service addresses, for one, it is wrong.
 */
export function importVrouterConfig({ entries, others }: VrouterConfig): Imported {
  const lost: string[] = [];
  const notes: string[] = [];
  const services: ImportedService[] = [];
  const upstreams = new Set<string>();
  const serviceAddresses = new Set(entries.map((entry) => textOf(entry, "linklocal_service_ip")));

  for (const [index, entry] of entries.entries()) {
    const given = textOf(entry, "linklocal_service_name");
    const about = `service ${given === "" ? `number ${index + 1}` : show(given)}`;
    const address = textOf(entry, "linklocal_service_ip");
    const port = portOf(entry, "linklocal_service_port");
    const obstacle = obstacleTo(address, port, services);
    if (obstacle !== undefined || port === undefined) {
      lost.push(`${about}: ${obstacle}`);
      continue;
    }
    const { backends, refused } = backendsOf(entry, serviceAddresses);
    lost.push(...refused.map((reason) => `${about}: ${reason}`));
    if (backends.length === 0) {
      lost.push(`${about}: no backend is left of it`);
      continue;
    }
    const name = freeName(given, index, services);
    if (name !== given.toLowerCase()) notes.push(`${about}: its name is now ${name}`);
    const isLinkLocal = isInPrefix(address, LINK_LOCAL_PREFIX);
    if (!isLinkLocal) notes.push(`${about}: ${address} is not link-local, hence allowAnyAddress`);
    // Compared in lower case, as OpenSDN does.
    const isMetadata = given.toLowerCase().includes("metadata");
    if (isMetadata) for (const backend of backends) upstreams.add(`http://${backend}`);
    if (backends.some((backend) => backend.startsWith("127.")))
      notes.push(
        `${about}: 127.0.0.1 means loopback here, the host's own address in OpenSDN: who listens there?`,
      );
    services.push({
      name,
      address,
      port,
      ...(isMetadata ? { kind: "metadata" } : { protocol: ["tcp", "udp"], backends }),
      ...(!isLinkLocal && { allowAnyAddress: true }),
    });
  }
  if (others.length > 0)
    notes.push(`settings of the vRouter, for which onlink has no use: ${others.join(", ")}`);
  return { config: configOf(services, [...upstreams], notes), lost, notes };
}

/** Why there can be no service at this address and port. */
function obstacleTo(
  address: string,
  port: number | undefined,
  services: readonly ImportedService[],
): string | undefined {
  if (!isIpv4(address)) return `its address ${show(address)} is not IPv4`;
  if (!isUnicast(address)) return `its address ${address} is not a host's`;
  if (RESERVED_LINK_LOCAL.some((prefix) => isInPrefix(address, prefix))) {
    return `its address ${address} is reserved (RFC 3927 s. 2.1)`;
  }
  if (port === undefined) return "its port is missing, or not 1-65535";
  const first = services.find((service) => service.address === address && service.port === port);
  return first && `${address}:${port} is that of ${first.name} already, the one that OpenSDN uses`;
}

/** Where the service runs: the addresses, or the name where there are none. OpenSDN does not look at a name beside addresses. */
function backendsOf(
  entry: Entry,
  serviceAddresses: ReadonlySet<string>,
): { backends: string[]; refused: string[] } {
  const port = portOf(entry, "ip_fabric_service_port");
  const hosts = (entry.get("ip_fabric_service_ip") ?? []).map(String);
  const name = textOf(entry, "ip_fabric_DNS_service_name");
  if (port === undefined) return { backends: [], refused: ["its fabric port is missing, or not 1-65535"] };
  const refused: string[] = [];
  const backends = new Set<string>();
  for (const host of hosts.length > 0 ? hosts : name === "" ? [] : [name]) {
    const isAddress = isIpv4(host) && (isUnicast(host) || isLoopback(host));
    if (serviceAddresses.has(host)) refused.push(`its backend ${host} is a service address`);
    else if (isAddress || isHostName(host)) backends.add(`${host.toLowerCase()}:${port}`);
    else refused.push(`its backend ${show(host)} is neither an IPv4 address of a host nor a name`);
  }
  return { backends: [...backends], refused };
}

function textOf(entry: Entry, field: string): string {
  const [value] = entry.get(field) ?? [];
  return typeof value === "string" ? value : "";
}

/** A port as a number or as text. */
function portOf(entry: Entry, field: string): number | undefined {
  const [value] = entry.get(field) ?? [];
  const port = /^\d{1,5}$/.test(String(value)) ? Number(value) : 0;
  return port >= 1 && port <= 65_535 ? port : undefined;
}

/** The name as a configuration takes it, and no two the same. */
function freeName(given: string, index: number, services: readonly ImportedService[]): string {
  const cleaned = given
    .toLowerCase()
    .replace(/[^a-z0-9._-]+/g, "-")
    .replace(/^[^a-z0-9]+|-+$/g, "")
    .slice(0, 60);
  const name = cleaned === "" ? `service-${index + 1}` : cleaned;
  const isTaken = (text: string) => services.some((service) => service.name === text);
  let free = name;
  for (let count = 2; isTaken(free); count++) free = `${name}-${count}`;
  return free;
}

/** Adds to `notes` what is to be done with the rest of the file. */
function configOf(services: ImportedService[], upstreams: string[], notes: string[]): Imported["config"] {
  if (upstreams.length > 0) {
    notes.push(
      "metadata: the shared secret is in the configuration of OpenSDN's agent; without metadata.proxy.secretFile Nova refuses guests",
    );
  }
  const isFree = (pool: string) => services.every(({ address }) => !isInPrefix(address, pool));
  const pool = POOLS.find(isFree) ?? POOLS[0]!;
  notes.push('interfaces: here all that are named "tap*", as Nova names them');
  return {
    services,
    ...(upstreams.length > 0 && { metadata: { mode: "proxy", proxy: { upstream: upstreams } } }),
    interfaces: [{ name: "tap*" }],
    ...(pool !== POOLS[0] && { agent: { metadataAddresses: pool } }),
  };
}
