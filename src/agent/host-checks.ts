import { spawnSync } from "node:child_process";
import type { Config } from "../config/schema.ts";
import { type Capability, effectiveCapabilities } from "../linux/capabilities.ts";
import { openRtnetlink, type Rtnetlink } from "../linux/rtnetlink.ts";
import { isInPrefix } from "../packet/address.ts";
import { AgentError, messageOf } from "./errors.ts";
import { readFileIfThere } from "./files.ts";
import { judgeInput, type OpeningPacket, type Ruleset } from "./firewall.ts";
import { findHostDevice } from "./host-device.ts";
import { withMetadataBackends } from "./metadata.ts";
import { hostAddress } from "./metadata-addresses.ts";

/** Longest list of rules that is read, in bytes. */
const MAX_RULESET = 64 * 2 ** 20;

/** One thing that an agent needs, whether it is there, and how to get it. */
export interface Check {
  name: string;
  ok: boolean;
  detail: string;
  /** Where the detail does not say it already. */
  mend?: string;
}

/** What an agent cannot do without. Without CAP_PERFMON the verifier takes no variable offset into the stack. */
const NEEDED: readonly Capability[] = ["CAP_BPF", "CAP_NET_ADMIN", "CAP_PERFMON"];

/** What CAP_SYS_ADMIN includes (capabilities(7)). */
const IN_SYS_ADMIN: ReadonlySet<Capability> = new Set(["CAP_BPF", "CAP_PERFMON"]);

/** Whether this process may do what an agent does. `toMount`: where it has to mount a bpffs, unless there is one. */
export function checkCapabilities(
  toMount: string | undefined,
  effective: ReadonlySet<Capability> = effectiveCapabilities(),
): Check {
  const name = "capabilities";
  const needed: readonly Capability[] = toMount === undefined ? NEEDED : [...NEEDED, "CAP_SYS_ADMIN"];
  const has = (capability: Capability) =>
    effective.has(capability) || (IN_SYS_ADMIN.has(capability) && effective.has("CAP_SYS_ADMIN"));
  const missing = needed.filter((capability) => !has(capability));
  if (missing.length === 0) return { name, ok: true, detail: needed.join(", ") };
  const mount = missing.includes("CAP_SYS_ADMIN") ? `, or mount a bpffs on ${toMount} beforehand` : "";
  return { name, ok: false, detail: `missing: ${missing.join(", ")}`, mend: `run onlink as root${mount}` };
}

/** Whether the host is as the configuration wants it: names and addresses free for the agent, and the way to backends on this host open. */
export function checkHost(config: Config): Check[] {
  const network = openRtnetlink();
  try {
    return [
      checkDevice(network, config),
      checkAddresses(network, config),
      checkFirewall(openingPackets(network, config), readFirewall()),
    ];
  } finally {
    network.close();
  }
}

/** Whether the device's name is free, or the device ours. */
export function checkDevice(network: Rtnetlink, { agent }: Config): Check {
  const name = "device";
  try {
    const found = findHostDevice(network, agent.device, agent.runtimeDir);
    return { name, ok: true, detail: `${agent.device} is ${found === undefined ? "free" : "onlink's own"}` };
  } catch (error) {
    if (!(error instanceof AgentError)) throw error;
    return { name, ok: false, detail: messageOf(error) };
  }
}

/** Whether no other interface has a metadata address or a service address: the host would keep such traffic to itself. */
export function checkAddresses(network: Rtnetlink, { agent, services }: Config): Check {
  const name = "addresses";
  const device = network.link(agent.device)?.ifindex;
  const serviceAddresses = new Set(services.map(({ address }) => address));
  const clash = network
    .addresses()
    .find(
      ({ ifindex, address }) =>
        ifindex !== device && (serviceAddresses.has(address) || isInPrefix(address, agent.metadataAddresses)),
    );
  if (clash === undefined) {
    return { name, ok: true, detail: "service and metadata addresses are on no other interface" };
  }
  const holder = network.link(clash.ifindex)?.name ?? `interface ${clash.ifindex}`;
  const isService = serviceAddresses.has(clash.address);
  return {
    name,
    ok: false,
    detail: `${clash.address}, ${isService ? "a service address" : `one of ${agent.metadataAddresses}`}, is on ${holder}`,
    mend: isService
      ? `remove it there (ip address del ${clash.address}/${clash.prefixLength} dev ${holder}), and let the service listen on 127.0.0.1 instead`
      : "set agent.metadataAddresses to a prefix that the host does not use",
  };
}

/** The packets that guests open connections with to backends on this host, the agent's own metadata service among them. Backends by name are left out. */
export function openingPackets(network: Rtnetlink, config: Config): OpeningPacket[] {
  const { agent, services } = withMetadataBackends(config);
  // The host has it only while an agent's device is there.
  const own = hostAddress(agent.metadataAddresses).address;
  return services.flatMap(({ protocol: protocols, backends }) =>
    backends
      .flatMap((backend) => ("address" in backend ? backend : []))
      .filter(({ address }) => address === own || network.routeTo(address)?.type === "local")
      .flatMap(({ address: destination, port }) =>
        protocols.map((protocol) => ({
          interface: agent.device,
          protocol,
          source: own,
          destination,
          port,
        })),
      ),
  );
}

/** What is known of the host's firewall. */
export interface Firewall {
  /** Undefined where it could not be read: see `reason`. */
  ruleset: Ruleset | undefined;
  reason?: string;
  /** The kernel holds rules of the older iptables, which nft does not show. */
  hasLegacyRules: boolean;
}

/** Reads the host's nftables rules, those of iptables-nft among them. Reads only. */
function readFirewall(): Firewall {
  const hasLegacyRules = readFileIfThere("/proc/net/ip_tables_names")?.includes("filter") ?? false;
  const { error, status, stdout, stderr } = spawnSync("nft", ["--json", "list", "ruleset"], {
    encoding: "utf8",
    maxBuffer: MAX_RULESET,
  });
  if (error !== undefined || status !== 0) {
    const isMissing = (error as NodeJS.ErrnoException | undefined)?.code === "ENOENT";
    const reason = isMissing ? "nft is not installed" : (error?.message ?? stderr.trim());
    return { ruleset: undefined, reason, hasLegacyRules };
  }
  return { ruleset: JSON.parse(stdout) as Ruleset, hasLegacyRules };
}

/** Whether the host's firewall lets guests' packets in to backends on this host. Only what is sure to be stopped is a failure. */
export function checkFirewall(packets: readonly OpeningPacket[], firewall: Firewall): Check {
  const name = "firewall";
  if (packets.length === 0) return { name, ok: true, detail: "no backend is on this host" };
  const { ruleset, reason, hasLegacyRules } = firewall;
  if (ruleset === undefined) return { name, ok: true, detail: `not looked at: ${reason}` };
  const judged = packets.map((packet) => ({ packet, fate: judgeInput(ruleset, packet) }));
  const worst =
    judged.find(({ fate }) => fate.fate === "drop") ?? judged.find(({ fate }) => fate.fate === "perhaps");
  const unseen = hasLegacyRules ? "; the rules of iptables-legacy were not looked at" : "";
  if (worst === undefined || worst.fate.fate === "accept") {
    return { name, ok: true, detail: `lets guests in to backends on this host${unseen}` };
  }
  const { packet, fate } = worst;
  const to = `${packet.protocol} from ${packet.interface} to ${packet.destination}:${packet.port}`;
  const mend = `nft insert rule ${fate.chain} iifname "${packet.interface}" accept`;
  if (fate.fate === "drop") return { name, ok: false, detail: `the chain ${fate.chain} drops ${to}`, mend };
  const detail = `cannot tell whether the chain ${fate.chain} lets in ${to}; if it does not: ${mend}${unseen}`;
  return { name, ok: true, detail };
}
