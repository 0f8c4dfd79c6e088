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

/** What an agent cannot do without. CAP_SYS_ADMIN, needed to mount the bpffs, stands for CAP_BPF and CAP_PERFMON too. */
const NEEDED: readonly Capability[] = ["CAP_NET_ADMIN", "CAP_SYS_ADMIN"];

/** Whether this process may do what an agent does. */
export function checkCapabilities(effective: ReadonlySet<Capability> = effectiveCapabilities()): Check {
  const missing = NEEDED.filter((capability) => !effective.has(capability));
  if (missing.length === 0) return { name: "capabilities", ok: true, detail: NEEDED.join(", ") };
  return {
    name: "capabilities",
    ok: false,
    detail: `missing: ${missing.join(", ")}`,
    mend: "run onlink as root",
  };
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
