import type { Config } from "../config/schema.ts";
import { type Capability, effectiveCapabilities } from "../linux/capabilities.ts";
import { openRtnetlink, type Rtnetlink } from "../linux/rtnetlink.ts";
import { isInPrefix } from "../packet/address.ts";
import { AgentError, messageOf } from "./errors.ts";
import { findHostDevice } from "./host-device.ts";

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

/** Whether the names and addresses that the configuration gives to the agent are free on this host. */
export function checkReserved(config: Config): Check[] {
  const network = openRtnetlink();
  try {
    return [checkDevice(network, config), checkAddresses(network, config)];
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
