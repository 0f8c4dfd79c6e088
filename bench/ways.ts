/**
 * The ways from a guest to a backend that the benchmarks set side by side, each on a host of its own, since what one needs (rules, connection
 * tracking, programs) would cost the others:
 *
 *   direct    no translation: the guest asks the host's own address, or is routed to the fabric
 *   nftables  DNAT to the backend, masquerade towards the fabric: what one would write by hand
 *   onlink
 */
import { type Fabric, type Guest, type Lab, openLab } from "../src/lab/lab.ts";
import { startAgent } from "../test/support/agent.ts";
import { output, shell } from "../test/support/commands.ts";
import { WEB } from "../test/support/guest.ts";
import { buildLoad, type LoadWay, SERVER_PROCESSOR } from "./load.ts";
import { median } from "./median.ts";
import { figure } from "./report.ts";

/** Where the backend of a service runs. */
export type Side = "host-local" | "fabric";

/** One host with its guest, its fabric, and a server of each kind on the host and in the fabric. */
export interface Way {
  lab: Lab;
  guest: Guest;
  fabric: Fabric;
  /** Whom the guest asks, by where the backend is. */
  address: Record<Side, string>;
}

/** The names of the ways. */
export type WayName = "onlink" | "direct" | "nftables";

/** Ports that the servers listen on, and the guest asks: the program load over TCP and UDP, and iperf3. */
export const PORT = { load: 8080, iperf: 5201 } as const;

const SERVICE: Record<Side, string> = { "host-local": "169.254.169.254", fabric: "169.254.169.253" };
const BACKEND: Record<Side, string> = { "host-local": "127.0.0.1", fabric: "192.0.2.10" };
const DIRECT: Record<Side, string> = { "host-local": "10.0.1.1", fabric: BACKEND.fabric };

/** Where the servers in a guest listen, for itself. */
export const LOOPBACK = "127.0.0.1";

/** More than the guest has, so that no flow waits for one of its own kind to be forgotten. */
const FABRIC_PORTS = [1024, 32767];
/** Room for all connections that the guest can have: half of what connection tracking has by default on a host of this size. */
const MANY_FLOWS = 131_072;

/** Opens all three. */
export async function openWays(): Promise<{ [name in WayName]: Way } & AsyncDisposable> {
  const load = buildLoad();
  const onlink = await openWay(load, SERVICE, BACKEND["host-local"]);
  await startAgent(onlink.lab, onlinkConfig());
  const direct = await openWay(load, DIRECT, DIRECT["host-local"]);
  await shell(direct.lab.host, "echo 1 >/proc/sys/net/ipv4/ip_forward");
  await output(direct.fabric, ["ip", "route", "add", "10.0.1.0/24", "via", "192.0.2.1"]);
  const nftables = await openWay(load, SERVICE, BACKEND["host-local"]);
  await shell(
    nftables.lab.host,
    "echo 1 >/proc/sys/net/ipv4/ip_forward; echo 1 >/proc/sys/net/ipv4/conf/vif-web/route_localnet",
  );
  await output(nftables.lab.host, ["nft", "-f", "-"], { input: nftablesRules() });
  return {
    onlink,
    direct,
    nftables,
    async [Symbol.asyncDispose]() {
      for (const { lab } of [onlink, direct, nftables]) await lab.close();
    },
  };
}

/** The ways to where load.c serves. */
export function loadWays(ways: Record<WayName, Way>, side: Side): Record<WayName, LoadWay> {
  const to = ({ lab, guest, address }: Way, peer: boolean) => ({
    lab,
    guest,
    address: address[side],
    port: PORT.load,
    peer,
  });
  return { onlink: to(ways.onlink, false), direct: to(ways.direct, true), nftables: to(ways.nftables, true) };
}

/** The generator's own ceiling: it and its server over the loopback of one guest, with nothing between them. */
export function loopbackWay({ direct: { lab, guest } }: Record<WayName, Way>): LoadWay {
  return { lab, guest, address: LOOPBACK, port: PORT.load, peer: true };
}

/** A note of what that came to, in rounds that took turns with the ways. */
export function ceilingNote(what: string, rates: readonly number[], unit: string): string {
  return `${what} over loopback, with nothing between client and server, in turns with the others: median ${figure(median(rates))} ${unit}.`;
}

/**
 * `hostServer`: where the servers on the host listen. At the wildcard address an answer by UDP would leave from the address that the route
 * prefers, and connection tracking would not know it.
 */
async function openWay(load: string, address: Record<Side, string>, hostServer: string): Promise<Way> {
  const lab = await openLab();
  const fabric = await lab.addFabric({
    name: "fab0",
    hostAddress: "192.0.2.1/24",
    address: `${BACKEND.fabric}/24`,
  });
  const guest = await lab.addGuest({ ...WEB, behaviour: "routed" });
  for (const [where, server] of [
    [lab.host, hostServer],
    [fabric, BACKEND.fabric],
    [guest, LOOPBACK],
  ] as const) {
    for (const kind of ["serve-tcp", "serve-udp"])
      await (await where.start([...SERVER_PROCESSOR, load, kind, server, String(PORT.load)])).waitForLine(
        /^ready$/,
      );
    const iperf = ["iperf3", "--server", "--forceflush", "--bind", server, "--port", String(PORT.iperf)];
    await (await where.start([...SERVER_PROCESSOR, ...iperf])).waitForLine(/listening/);
  }
  return { lab, guest, fabric, address };
}

function onlinkConfig(): object {
  const sides: Side[] = ["host-local", "fabric"];
  return {
    services: sides.flatMap((side) =>
      Object.entries(PORT).map(([name, port]) => ({
        name: `${name}-${side}`,
        address: SERVICE[side],
        port,
        protocol: ["tcp", "udp"],
        backends: [`${BACKEND[side]}:${port}`],
      })),
    ),
    interfaces: [{ name: "vif-*" }],
    limits: { flows: MANY_FLOWS, flowsPerInterface: MANY_FLOWS },
    fabric: { ports: FABRIC_PORTS },
  };
}

function nftablesRules(): string {
  const rules = (["host-local", "fabric"] as const).flatMap((side) =>
    Object.values(PORT).flatMap((port) =>
      ["tcp", "udp"].map(
        (protocol) => `ip daddr ${SERVICE[side]} ${protocol} dport ${port} dnat to ${BACKEND[side]}:${port}`,
      ),
    ),
  );
  return `table ip services {
    chain to-backends {
      type nat hook prerouting priority dstnat
      ${rules.join("\n      ")}
    }
    chain to-fabric {
      type nat hook postrouting priority srcnat
      oifname "fab0" masquerade
    }
  }\n`;
}
