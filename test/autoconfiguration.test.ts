/**
 * Hosts that choose a link-local address for themselves (RFC 3927), as Windows does: real ones, each made to try a service address first. onlink
 * answers their probe (row A2), so that they take another address; with that they reach each other and the services.
 */
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Guest, type Lab, openLab } from "../src/lab/lab.ts";
import type { LabProcess } from "../src/lab/process.ts";
import { startHttpServer } from "../src/lab/servers.ts";
import { GATEWAY_MAC } from "../src/packet/address.ts";
import { interfaceIn, metadataAddressIn, startAgent, statusOf } from "./support/agent.ts";
import { arping, output, ping, requestFrom } from "./support/commands.ts";

const SERVICE = "169.254.169.254";
const TIMEOUT = 60_000;
/** dhcpcd draws its first choice from its MAC. */
const DHCPCD_MAC = "02:00:0a:00:02:04";

/** Its hooks would change files of the machine, and the lab shares those. */
const DHCPCD = ["dhcpcd", "-B", "-d", "-4", "-f", "/dev/null", "--script", "/bin/true"];

const networkd = (start: string) => `
mkdir -p /run/systemd/network
cat >/run/systemd/network/10-eth0.network <<'END'
[Match]
Name=eth0
[Network]
LinkLocalAddressing=ipv4
IPv4LLStartAddress=${start}
END
mount -o remount,ro /sys # as in a container: then it waits for no udev
export SYSTEMD_LOG_LEVEL=debug
exec /lib/systemd/systemd-networkd`;

/** A host: how it is started to try an address first, and what it prints. */
interface Kind {
  argv: (first: string) => string[];
  tries: (address: string) => RegExp;
  /** It met another that has the address. */
  meets: (address: string) => RegExp;
  /** It has taken the address that the pattern captures. */
  takes: RegExp;
}

const KINDS = {
  avahi: {
    argv: (first) => ["avahi-autoipd", "--no-drop-root", "--no-chroot", `--start=${first}`, "eth0"],
    tries: (address) => new RegExp(`^Starting with address ${address}$`),
    meets: () => /^Received conflicting \w+ ARP packet\.$/,
    takes: /^Successfully claimed IP address (\S+)$/,
  },
  dhcpcd: {
    argv: () => [...DHCPCD, "eth0"],
    tries: (address) => new RegExp(`^eth0: probing for ${address}$`),
    meets: (address) => new RegExp(`^eth0: ${GATEWAY_MAC}\\(.* claims ${address}$`),
    takes: /^eth0: using IPv4LL address (\S+)$/,
  },
  networkd: {
    argv: (first) => ["unshare", "--mount", "--propagation", "private", "/bin/sh", "-ec", networkd(first)],
    tries: (address) => new RegExp(`^eth0: IPv4ACD: Probing ${address}$`),
    meets: (address) => new RegExp(`^eth0: IPv4ACD: Conflict on ${address} `),
    takes: /^eth0: IPv4 link-local claim (\S+)$/,
  },
} satisfies Record<string, Kind>;
type Name = keyof typeof KINDS;
const NAMES = Object.keys(KINDS) as Name[];

let lab: Lab;
let guests: Record<Name, Guest>;
const hosts = {} as Record<Name, LabProcess>;
const first: Record<Name, string> = { avahi: "169.254.10.9", networkd: "169.254.10.10", dhcpcd: "" };

beforeAll(async () => {
  lab = await openLab();
  await lab.addBridge({ name: "br0", address: "10.0.2.1/24" });
  const member = { link: "bridge", bridge: "br0", behaviour: "routed", gateway: "10.0.2.1" } as const;
  const [avahi, dhcpcd, networkd, twin] = (await lab.addGuests([
    { ...member, name: "avahi", address: "10.0.2.3/24" },
    { ...member, name: "dhcpcd", address: "10.0.2.4/24", mac: DHCPCD_MAC },
    { ...member, name: "networkd", address: "10.0.2.5/24" },
    {
      name: "twin",
      link: "veth",
      behaviour: "routed",
      address: "10.0.3.3/24",
      gateway: "10.0.3.1",
      mac: DHCPCD_MAC,
    },
  ])) as [Guest, Guest, Guest, Guest];
  guests = { avahi, dhcpcd, networkd };
  // They are to have no address but those that they give themselves.
  for (const guest of [...Object.values(guests), twin])
    await output(guest, ["ip", "address", "flush", "dev", "eth0"]);
  await startHttpServer(lab.host, { address: "127.0.0.1", port: 8080 });

  const learner = await twin.start([...DHCPCD, "--nodhcp", "eth0"]);
  first.dhcpcd = /probing for (169\S+)/.exec(await learner.waitForLine(/probing for 169/))![1]!;
  await learner.stop();

  await startAgent(lab, {
    services: [SERVICE, ...Object.values(first)].map((address, index) => ({
      name: `web-${index}`,
      address,
      port: 80,
      backends: ["127.0.0.1:8080"],
    })),
    interfaces: Object.values(guests).map(({ vif }) => ({ name: vif })),
  });
  await Promise.all(
    NAMES.map(async (name) => {
      hosts[name] = await guests[name].start(KINDS[name].argv(first[name]));
      await hosts[name].waitForLine(KINDS[name].takes, TIMEOUT);
    }),
  );
}, 2 * TIMEOUT);
afterAll(() => lab?.close());

/** The address that a host has taken. */
async function taken(name: Name): Promise<string> {
  return KINDS[name].takes.exec(await hosts[name].waitForLine(KINDS[name].takes))![1]!;
}

test.each(NAMES)("%s tries a service address, meets onlink, and takes another", async (name) => {
  await hosts[name].waitForLine(KINDS[name].tries(first[name]), 0);
  await hosts[name].waitForLine(KINDS[name].meets(first[name]), 0);
  const address = await taken(name);
  expect(address).toMatch(/^169\.254\./);
  expect(Object.values(first)).not.toContain(address);
  expect(await output(guests[name], ["ip", "-4", "address", "show", "dev", "eth0"])).toContain(
    `inet ${address}/16`,
  );
  const { counters } = interfaceIn(await statusOf(lab), guests[name].vif)!;
  expect(counters?.["arp-probe-reply"].frames).toBeGreaterThan(0);
  // What it said for itself was about its own address alone.
  expect(counters?.["arp-conflict"].frames).toBe(0);
});

test("they reach each other by the addresses that they took", async () => {
  for (const from of NAMES)
    for (const to of NAMES)
      if (from !== to) {
        await ping(guests[from], await taken(to));
        expect(await arping(guests[from], await taken(to))).toBe(guests[to].mac);
      }
});

test("and the services, those too whose address they wanted", async () => {
  const status = await statusOf(lab);
  for (const name of NAMES) {
    const peer = metadataAddressIn(status, guests[name].vif);
    for (const address of [SERVICE, first[name]])
      expect((await requestFrom(guests[name], `http://${address}/`)).peer).toBe(peer);
  }
});
