import { posix } from "node:path";
import type * as z from "zod";
import type { Protocol } from "../datapath/types.ts";
import { isIpv4, parseMac, parsePrefix } from "../packet/address.ts";
import {
  absolutePath,
  choice,
  directory,
  duration,
  integer,
  isWithin,
  list,
  section,
  text,
  value,
} from "./fields.ts";
import { guestMetadataSchema } from "./guest-metadata.ts";
import { metadataSchema } from "./metadata-service.ts";
import {
  isDeviceName,
  isHostName,
  isInterfaceName,
  isInterfacePattern,
  isPattern,
  MAX_INTERFACE_NAME,
} from "./names.ts";
import { isLoopback, isUnicast } from "./ranges.ts";

/*
 * The fields of the configuration file (DESIGN section 5), each value by itself. What values mean together, and which
 * addresses may be used for what, is in rules.ts. A schema yields the normalised value, with every default filled in.
 */

const MAX_PORT = 65_535;
/** What the flow maps scale to. */
const MAX_FLOWS = 1_000_000;
/** Longest path of a UNIX socket in bytes: `sun_path` less the closing zero (unix(7)). */
const MAX_SOCKET_PATH = 107;
/** Longest path in bytes: PATH_MAX less the closing zero. */
const MAX_PATH = 4095;
const SOCKET_NAME = "onlink.sock";

const ipv4Address = text("an IPv4 address", "one like 169.254.169.254", (address) =>
  isIpv4(address) ? address : undefined,
);
const guestAddress = text("the IPv4 address of a host", "one like 10.0.1.3", (address) =>
  isIpv4(address) && isUnicast(address) ? address : undefined,
);
const uuid = text("a UUID", "one like 6f3a0a3e-3b1c-4f0e-9a53-1f3a6a1d2c11", (id) =>
  /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(id) ? id.toLowerCase() : undefined,
);
const interfaceMac = text("the MAC of an interface", "one like 02:00:0a:00:01:03", (mac) => {
  const bytes = parseMac(mac);
  // The lowest bit of the first byte marks group addresses (IEEE 802).
  return bytes.ok && (bytes.value[0]! & 1) === 0 ? mac.toLowerCase() : undefined;
});

const backend = text(
  "a backend",
  'an address or name, and a port, like "10.0.0.2:53" or "ns1.fabric.example:53"',
  (input): { address: string; port: number } | { name: string; port: number } | undefined => {
    const [, host = "", digits] = /^([^:]+):([1-9][0-9]*)$/.exec(input) ?? [];
    const port = Number(digits);
    if (!isWithin(port, 1, MAX_PORT)) return undefined;
    if (isBackendAddress(host)) return { address: host, port };
    return isHostName(host) ? { name: host.toLowerCase(), port } : undefined;
  },
);

const toggle = value("a switch", "true or false", (input) =>
  typeof input === "boolean" ? input : undefined,
);

const protocols = value("a protocol", "tcp, udp or [tcp, udp]", (input): Protocol[] | undefined => {
  const given: unknown[] = Array.isArray(input) ? input : [input];
  return given.length > 0 && given.every(isProtocol) ? [...new Set(given)] : undefined;
});

const fabricInterfaces = value(
  "a list of interface names",
  "auto or a list like [eth0]",
  (input): "auto" | string[] | undefined => {
    if (input === "auto") return input;
    const isName = (name: unknown) => typeof name === "string" && isInterfaceName(name) && !isPattern(name);
    return Array.isArray(input) && input.length > 0 && input.every(isName) ? input : undefined;
  },
);

const fabricPorts = value(
  "a range of ports",
  `[lowest, highest] within 1024-${MAX_PORT}`,
  (input): [number, number] | undefined => {
    if (!Array.isArray(input) || input.length !== 2) return undefined;
    const [lowest, highest] = input;
    return isWithin(lowest, 1024, MAX_PORT) && isWithin(highest, lowest, MAX_PORT)
      ? [lowest, highest]
      : undefined;
  },
);

const unknownPort = choice("a way to treat frames", ["reject", "drop"]);
const arpReply = choice("a way to reply", ["unicast", "broadcast"]);

/** How the agent finds out whether the backends of a service work. */
const healthCheckSchema = section({
  type: choice("a type of check", ["tcp", "http"]),
  port: integer("a port", 1, MAX_PORT).optional(),
  path: text("the path of a URL", "one like /healthz, without spaces", (path) =>
    /^\/[!-"$-~]{0,1023}$/.test(path) ? path : undefined,
  ).optional(),
  interval: duration("100ms", "1h").default(5000),
  timeout: duration("100ms", "1m").default(2000),
  unhealthyAfter: integer("a number of checks", 1, 100).default(3),
  healthyAfter: integer("a number of checks", 1, 100).default(2),
});

/** Nobody is asked who he is there, so it is for this host alone. */
const loopbackEndpoint = value("a loopback address and port", "one like 127.0.0.1:9091", (input) => {
  const [, address = "", digits] =
    typeof input === "string" ? (/^([^:]+):([1-9][0-9]*)$/.exec(input) ?? []) : [];
  const port = Number(digits);
  return isIpv4(address) && isLoopback(address) && isWithin(port, 1, MAX_PORT)
    ? { address, port }
    : undefined;
});

/** An entry of `services`. */
export const serviceSchema = section({
  name: text("a service name", "1-64 letters, digits, dots, dashes or underscores", (name) =>
    /^[a-z0-9][a-z0-9._-]{0,63}$/i.test(name) ? name : undefined,
  ),
  address: ipv4Address,
  port: integer("a port", 1, MAX_PORT),
  kind: choice("a kind of service", ["nat", "metadata"]).default("nat"),
  protocol: protocols.default(["tcp"]),
  backends: list("at least one backend", backend).optional(),
  healthCheck: healthCheckSchema.optional(),
  responseHopLimit: integer("a hop limit", 1, 64).default(64),
  whenNoBackend: choice("a way to treat frames", ["reject", "drop", "pass"]).default("reject"),
  drain: duration("0s", "24h").default(30_000),
  allowAnyAddress: toggle.default(false),
});

/** The gateway of the guest behind an interface. */
const gatewaySchema = section({
  address: guestAddress,
  answerArp: toggle,
});

/** An entry of `interfaces`: a pattern, or one interface and, if known, the identity of its guest. */
export const interfaceSchema = section({
  name: text(
    "the name of an interface or a pattern",
    `at most ${MAX_INTERFACE_NAME} bytes without slash, colon and white space; * and ? make it a pattern`,
    (name) => (isInterfaceName(name) || isInterfacePattern(name) ? name : undefined),
  ),
  instanceId: uuid.optional(),
  projectId: uuid.optional(),
  addresses: list("at least one IPv4 address", guestAddress).optional(),
  mac: interfaceMac.optional(),
  antiSpoof: toggle.optional(),
  unknownPort: unknownPort.optional(),
  arpReply: arpReply.optional(),
  gateway: gatewaySchema.optional(),
  metadata: guestMetadataSchema.optional(),
  requireToken: toggle.optional(),
});

/** The section `defaults`: what holds for every interface that does not say otherwise. */
const defaultsSchema = section({
  antiSpoof: toggle.default(true),
  unknownPort: unknownPort.default("reject"),
  arpReply: arpReply.default("unicast"),
});

const limitsSchema = section({
  flows: integer("a number of flows", 1, MAX_FLOWS).default(16_384),
  flowsPerInterface: integer("a number of flows", 1, MAX_FLOWS).default(1024),
});

/** The section `fabric`. */
export const fabricSchema = section({
  interfaces: fabricInterfaces.default("auto"),
  sourceAddress: text("the IPv4 address of a host", "auto or one like 192.0.2.10", (address) =>
    address === "auto" || (isIpv4(address) && isUnicast(address)) ? address : undefined,
  ).default("auto"),
  ports: fabricPorts.default([61_000, MAX_PORT]),
});

/** The section `agent`. */
export const agentSchema = section({
  device: text(
    "a device name",
    `at most ${MAX_INTERFACE_NAME - 1} bytes without slash, colon, percent sign, *, ? and white space; not lo, all or default`,
    (name) => (isDeviceName(name) ? name : undefined),
  ).default("onlink0"),
  metadataAddresses: text(
    "an IPv4 prefix",
    "one like 169.254.64.0/18, with no bits set beyond its length",
    (prefix) => (parsePrefix(prefix).ok ? prefix : undefined),
  ).default("169.254.64.0/18"),
  stateDir: directory(MAX_PATH).default("/var/lib/onlink"),
  runtimeDir: directory(MAX_SOCKET_PATH - `/${SOCKET_NAME}`.length).default("/run/onlink"),
  attach: choice("a way to attach", ["auto", "tcx", "clsact"]).default("auto"),
});

/** The whole file. */
export const configSchema = section({
  services: list("at least one service, else there is nothing to do", serviceSchema),
  interfaces: list("at least one interface name or pattern, else there is nothing to do", interfaceSchema),
  defaults: defaultsSchema.prefault({}),
  limits: limitsSchema.prefault({}),
  fabric: fabricSchema.prefault({}),
  agent: agentSchema.prefault({}),
  metadata: metadataSchema.prefault({}),
  api: section({
    socket: absolutePath(MAX_SOCKET_PATH).optional(),
    listen: loopbackEndpoint.optional(),
  }).prefault({}),
}).transform((config) => ({
  ...config,
  services: config.services.map((service) => ({ ...service, backends: service.backends ?? [] })),
  api: { ...config.api, socket: config.api.socket ?? defaultSocket(config.agent.runtimeDir) },
}));

/** `api.socket` where the configuration does not give it. */
export function defaultSocket(runtimeDir: string): string {
  return posix.join(runtimeDir, SOCKET_NAME);
}

/** The configuration, checked and with every default filled in. */
export type Config = z.output<typeof configSchema>;
/** A service; `protocol` lists the protocols it is offered on. One of kind metadata has no backends: the agent itself serves it. */
export type Service = Config["services"][number];
/** Where a service really runs: IPv4 address as text or DNS name in lower case, and port. */
export type Backend = Service["backends"][number];
/** How the backends of a service are checked; times in ms. `port` is given where it is not the backend's own, `path` for HTTP alone. */
export type HealthCheck = NonNullable<Service["healthCheck"]>;
/** Which interfaces are vifs, by name or pattern; the fields of identity only with a name. */
export type InterfaceRule = Config["interfaces"][number];

/** A backend as the configuration writes it, such as `10.0.0.2:53`. */
export function backendText(backend: Backend): string {
  return `${"name" in backend ? backend.name : backend.address}:${backend.port}`;
}

function isProtocol(input: unknown): input is Protocol {
  return input === "tcp" || input === "udp";
}

function isBackendAddress(address: string): boolean {
  return isIpv4(address) && (isUnicast(address) || isLoopback(address));
}
