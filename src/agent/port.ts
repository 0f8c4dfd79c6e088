import { isIPv6 } from "node:net";
import { isHostName } from "../config/guest-metadata.ts";
import { isInterfaceName, isPattern } from "../config/names.ts";
import { isIpv4, UNSPECIFIED_ADDRESS, ZERO_MAC } from "../packet/address.ts";

/** A port as OpenSDN's port API has it, in the form in which it is kept and given back. */
export interface Port {
  id: string;
  /** All zeros: none. */
  "instance-id": string;
  "display-name": string;
  /** 0.0.0.0: not known. */
  "ip-address": string;
  /** `::`: not known. */
  "ip6-address": string;
  "vn-id": string;
  /** All zeros: none. */
  "vm-project-id": string;
  "mac-address": string;
  /** Of the interface on this host; of a remote port, which has none here, any name. */
  "system-name": string;
  type: (typeof PORT_TYPE)[keyof typeof PORT_TYPE];
  "rx-vlan-id": number;
  "tx-vlan-id": number;
  "vhostuser-mode": number;
  "link-state": 0 | 1;
}

/** 0 is a Nova VM's port, 1 a namespace's, 2 one on an ESXi host: a remote port. */
export const PORT_TYPE = { vm: 0, namespace: 1, remote: 2 } as const;

/** Why a port is not taken, in the words that OpenSDN's agent has for it, where it has some. */
export class PortError extends Error {
  override readonly name = "PortError";
}

const NIL_UUID = "00000000-0000-0000-0000-000000000000";

/** What OpenStack's names may have; a port is kept in memory, and anybody on the host can add one. */
const MAX_TEXT = 255;

/** How much of a wrong body an error repeats. */
const MAX_QUOTED = 200;

/** Reads the body of `POST /port`: one port, or a list of them. Throws `PortError`. Fields that are not a port's are left out. */
export function parsePorts(text: string): Port[] {
  let content: unknown;
  try {
    content = JSON.parse(text);
  } catch {
    throw new PortError(`Invalid Json string ==> ${text.slice(0, MAX_QUOTED)}`);
  }
  return Array.isArray(content) ? content.map(parsePort) : [parsePort(content)];
}

/** Reads one port; the fields are looked at in the order of OpenSDN's agent, so that the same one is found wrong first. Throws `PortError`. */
export function parsePort(content: unknown): Port {
  if (typeof content !== "object" || content === null || Array.isArray(content))
    throw new PortError(`Unexpected Json string ==> ${JSON.stringify(content).slice(0, MAX_QUOTED)}`);
  const fields = new Map<string, unknown>(Object.entries(content));
  const id = uuidIn(fields, "id");
  if (id === NIL_UUID) throw new PortError("Invalid data for <id>");
  const instance = uuidIn(fields, "instance-id");
  const network = uuidIn(fields, "vn-id");
  const project = uuidIn(fields, "vm-project-id");
  const displayName = textIn(fields, "display-name");
  const address = textIn(fields, "ip-address");
  const address6 = textIn(fields, "ip6-address");
  const type = typeOf(numberIn(fields, "type"));
  if (type === PORT_TYPE.vm && network === NIL_UUID) throw new PortError("Invalid VN uuid");
  const name = textIn(fields, "system-name");
  if (type !== PORT_TYPE.remote && !isFullName(name))
    throw new PortError("Invalid data for <system-name>: Linux has no interfaces of such a name");
  const mac = parseMac(textIn(fields, "mac-address"));
  const rxVlan = numberIn(fields, "rx-vlan-id");
  const txVlan = numberIn(fields, "tx-vlan-id");
  const mode = fields.has("vhostuser-mode") ? numberIn(fields, "vhostuser-mode") : 0;
  const linkState = fields.get("link-state") ?? (type === PORT_TYPE.remote ? 0 : 1);
  return {
    id,
    "instance-id": instance,
    "display-name": displayName,
    "ip-address": isIpv4(address) ? address : UNSPECIFIED_ADDRESS,
    "ip6-address": isIPv6(address6) ? address6 : "::",
    "vn-id": network,
    "vm-project-id": project,
    "mac-address": mac,
    "system-name": name,
    type,
    "rx-vlan-id": rxVlan,
    "tx-vlan-id": txVlan,
    "vhostuser-mode": mode,
    "link-state": linkState === 0 ? 0 : 1,
  };
}

/** The id in a path; undefined where it is no UUID. */
export function parsePortId(text: string): string | undefined {
  return UUID.test(text) ? text.toLowerCase() : undefined;
}

/** What is registered for the interface of a port, as an entry of `interfaces` has it; undefined where it can have none on this host. */
export function registrationOf(port: Port): { name: string; content: object } | undefined {
  const name = port["system-name"];
  if (!isFullName(name)) return undefined;
  const content = {
    ...(port["instance-id"] !== NIL_UUID && { instanceId: port["instance-id"] }),
    ...(port["vm-project-id"] !== NIL_UUID && { projectId: port["vm-project-id"] }),
    ...(port["ip-address"] !== UNSPECIFIED_ADDRESS && { addresses: [port["ip-address"]] }),
    mac: port["mac-address"],
    ...(isHostName(port["display-name"]) && { metadata: { hostname: port["display-name"] } }),
  };
  return { name, content };
}

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;

function isFullName(name: string): boolean {
  return isInterfaceName(name) && !isPattern(name);
}

/** What is no UUID stands for none, as an empty text does. */
function uuidIn(fields: ReadonlyMap<string, unknown>, field: string): string {
  const value = fields.get(field);
  if (typeof value !== "string") throw new PortError(`Invalid or missing data for <${field}>`);
  const dashed = value.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
  return UUID.test(dashed) ? dashed.toLowerCase() : NIL_UUID;
}

function textIn(fields: ReadonlyMap<string, unknown>, field: string): string {
  const value = fields.get(field);
  if (typeof value !== "string") throw new PortError(`Invalid or missing field for <${field}>`);
  if (value.length > MAX_TEXT)
    throw new PortError(`Invalid data for <${field}>: more than ${MAX_TEXT} characters`);
  return value;
}

function numberIn(fields: ReadonlyMap<string, unknown>, field: string): number {
  const value = fields.get(field);
  if (!Number.isInteger(value)) throw new PortError(`Invalid or missing field for <${field}>`);
  return value as number;
}

function typeOf(number: number): Port["type"] {
  if (number === PORT_TYPE.namespace || number === PORT_TYPE.remote) return number;
  return PORT_TYPE.vm;
}

/** In the form of ether_aton(3), where leading zeros may be missing. */
function parseMac(text: string): string {
  const isMac = /^[0-9a-f]{1,2}(:[0-9a-f]{1,2}){5}$/i.test(text);
  const mac = text
    .toLowerCase()
    .split(":")
    .map((part) => part.padStart(2, "0"))
    .join(":");
  // The lowest bit of the first byte marks group addresses (IEEE 802).
  const isGroup = (Number.parseInt(mac.slice(0, 2), 16) & 1) === 1;
  if (!isMac || mac === ZERO_MAC || isGroup) throw new PortError("Invalid MAC, Use xx:xx:xx:xx:xx:xx format");
  return mac;
}
