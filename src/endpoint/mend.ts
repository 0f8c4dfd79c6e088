/** What to do about it, in the guest's own commands. */
import { isIpv4 } from "../packet/address.ts";
import { completeRef, type Decision, defaultGateway, mayBeSame, nameOf } from "./decide.ts";
import type { InterfaceRef, System, Tables } from "./types.ts";
import { workaround } from "./workaround.ts";

/** One way to mend it. Several are alternatives, the best first. */
export interface Mend {
  /** What it does and where, a sentence. */
  what: string;
  /** To type in the guest, as administrator or root; none where the mend is made elsewhere. */
  commands: string[];
}

/** Turning on onlink, which needs nothing in the guest. */
export function onlinkOnVif(tables: Tables, decision: Decision): Mend {
  const via = completeRef(tables, decision.via);
  const own = tables.addresses.find(
    (of) => of.mac !== undefined && mayBeSame({ interfaceAddress: of.address, ...of }, via),
  );
  const mac = own?.mac;
  return {
    what: `On the host, let onlink serve the guest's vif${mac === undefined ? "" : ` (the guest's MAC is ${mac})`}: add it to "interfaces" in its configuration. It answers the guest's ARP, and the guest needs nothing.`,
    commands: [],
  };
}

/** A host route to the destination through the gateway that other packets take. */
export function hostRoute(tables: Tables, decision: Decision): Mend {
  const found = defaultGateway(tables);
  const gateway = found?.gateway !== undefined && isIpv4(found.gateway) ? found.gateway : undefined;
  const what =
    "Where the host has no onlink but its gateway serves such packets, add a host route in the guest";
  return gateway === undefined
    ? {
        what: `${what}: the tables show no default gateway, so put yours for GATEWAY.`,
        commands: routeCommands(tables.system, decision.destination, "GATEWAY"),
      }
    : { what: `${what}.`, commands: routeCommands(tables.system, decision.destination, gateway) };
}

function routeCommands(system: System | undefined, to: string, gateway: string): string[] {
  if (system === "macos") return [`sudo route -n add -host ${to} ${gateway}`];
  if (system === "bsd") return [`route add -host ${to} ${gateway}`];
  const target = system === "windows" ? "windows" : "linux";
  if (!isIpv4(gateway))
    return target === "windows"
      ? [`route add ${to} mask 255.255.255.255 ${gateway}`]
      : [`ip route add ${to}/32 via ${gateway}`];
  return workaround({ to: [to], gateway, target }).find(({ use }) => use === "now")!.lines;
}

/** Takes away the route that decided, which leads nowhere, and adds one by the default gateway where there is a better one. */
export function replaceRoute(tables: Tables, decision: Decision): Mend {
  const { route, destination } = decision;
  const prefix = route!.destination;
  const better = defaultGateway(tables)?.gateway;
  const add =
    better === undefined || better === route!.gateway
      ? []
      : routeCommands(tables.system, destination, better);
  return {
    what:
      tables.system === "windows"
        ? `Delete the route, which deletes the saved one too${add.length > 0 ? ", and add it anew with the gateway of this network; leave it out of images" : ", and give the guest the gateway of this network"}.`
        : `Delete the route${add.length > 0 ? ", and add it anew with the gateway of this network" : ", and give the guest the gateway of this network"}.`,
    commands: [deleteRoute(tables.system, prefix, route!.gateway, route!), ...add],
  };
}

/** The command that deletes a route. */
function deleteRoute(
  system: System | undefined,
  prefix: string,
  gateway: string | undefined,
  ref: InterfaceRef & { refuses?: "unreachable" | "blackhole" },
): string {
  const [address = "", length] = prefix.split("/");
  if (system === "windows") return `route delete ${address}${gateway === undefined ? "" : ` ${gateway}`}`;
  if (system === "macos" || system === "bsd") {
    const of = length === "32" ? `-host ${address}` : `-net ${prefix}`;
    return `${system === "macos" ? "sudo " : ""}route -n delete ${of}`;
  }
  const type = ref.refuses === undefined ? "" : `${ref.refuses} `;
  const at = ref.interface === undefined || ref.refuses !== undefined ? "" : ` dev ${ref.interface}`;
  return `ip route del ${type}${prefix}${gateway === undefined ? "" : ` via ${gateway}`}${at}`;
}

/** Lets the guest ask again for a neighbour that did not answer. */
export function askAgain(system: System | undefined, of: string, via: InterfaceRef): string[] {
  if (system === "windows") return [`arp -d ${of}`, `ping -n 1 ${of}`];
  if (system === "macos") return [`sudo arp -d ${of}`, `ping -c 1 ${of}`];
  if (system === "bsd") return [`arp -d ${of}`, `ping -c 1 ${of}`];
  const at = via.interface === undefined ? "" : ` dev ${via.interface}`;
  return [`ip neigh flush to ${of}${at}`, `ping -c 1 ${of}`];
}

/** Asks for an address by DHCP. */
export function renewAddress(system: System | undefined, via: InterfaceRef): Mend {
  const device = via.interface ?? "INTERFACE";
  const commands: Record<System, string[]> = {
    windows: ["ipconfig /renew", "ipconfig /all"],
    linux: [
      `ip link set ${device} up`,
      `dhcpcd ${device}    # or: dhclient ${device}, networkctl renew ${device}`,
    ],
    macos: [`sudo ipconfig set ${device} DHCP`, `ipconfig getifaddr ${device}`],
    bsd: [`ifconfig ${device} up`, `dhclient ${device}`],
  };
  return {
    what: "Give the guest an address: by DHCP, where the network has it.",
    commands: commands[system ?? "linux"],
  };
}

/** Takes a service address off the guest. */
export function removeOwnAddress(tables: Tables, decision: Decision): Mend {
  const { destination, via } = decision;
  const own = tables.addresses.find(({ address }) => address === destination);
  const device = own?.interface ?? via.interface ?? "INTERFACE";
  const commands: Record<System, string[]> = {
    windows: [`netsh interface ipv4 delete address "${own?.interface ?? "INTERFACE"}" ${destination}`],
    linux: [`ip addr del ${destination}/${own?.prefixLength ?? 32} dev ${device}`],
    macos: [`sudo ifconfig ${device} -alias ${destination}`],
    bsd: [`ifconfig ${device} -alias ${destination}`],
  };
  return {
    what: `Take ${destination} off the guest: a service address belongs to the network.`,
    commands: commands[tables.system ?? "linux"],
  };
}

/** Gives the guest a default route. */
export function addDefaultRoute(system: System | undefined): Mend {
  const commands: Record<System, string[]> = {
    windows: ["route add 0.0.0.0 mask 0.0.0.0 GATEWAY"],
    linux: ["ip route add default via GATEWAY"],
    macos: ["sudo route -n add default GATEWAY"],
    bsd: ["route add default GATEWAY"],
  };
  return {
    what: "Give the guest a default route; put the gateway of its network for GATEWAY.",
    commands: commands[system ?? "linux"],
  };
}

/** For a gateway that does not answer ARP. */
export function gatewayDoesNotAnswer(system: System | undefined, decision: Decision): Mend[] {
  const gateway = decision.nextHop!;
  return [
    {
      what: `See that the gateway ${gateway} is up and on the guest's network; then let the guest ask again.`,
      commands: askAgain(system, gateway, decision.via),
    },
    {
      what: `Or, on the host, let onlink answer for the gateway on the guest's vif: "gateway: { address: ${gateway}, answerArp: true }" in its entry of "interfaces" (${nameOf(decision.via)} is its name in the guest).`,
      commands: [],
    },
  ];
}
