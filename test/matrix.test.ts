/** Every kind of guest against every kind of backend, with real tools, for both ways to attach. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Guest, type Lab, openLab } from "../src/lab/lab.ts";
import { startDnsServer, startHttpServer } from "../src/lab/servers.ts";
import { GATEWAY_MAC } from "../src/packet/address.ts";
import { startAgent, statusOf } from "./support/agent.ts";
import {
  arping,
  CURL,
  dig,
  hashesOfEcho,
  hashOfBytes,
  hashOfDownload,
  output,
  ping,
  requestFrom,
} from "./support/commands.ts";

const MEGABYTE = 1_000_000;
const LOCAL = "169.254.169.254";
const FABRIC = "169.254.169.253";
const SPREAD = "169.254.169.252";
/** The host's addresses towards its two fabrics: what a backend there sees. */
const HOST_ADDRESSES = ["192.0.2.1", "198.51.100.1"];

const LINKS = ["veth", "bridge", "tap"] as const;
const BEHAVIOURS = ["routed", "on-link"] as const;
const GUESTS = LINKS.flatMap((link, l) =>
  BEHAVIOURS.map((behaviour, b) => {
    const subnet = link === "bridge" ? 9 : 2 * l + b;
    return {
      name: `${link}-${behaviour}`,
      link,
      behaviour,
      address: `10.0.${subnet}.${10 + b}/24`,
      gateway: `10.0.${subnet}.1`,
      ...(link === "bridge" && { bridge: "br0" }),
    };
  }),
).map((guest, index) => ({ ...guest, name: `g${index}`, title: `${guest.link}, ${guest.behaviour}` }));

describe.each(["tcx", "clsact"] as const)("attached by %s", (attach) => {
  let lab: Lab;
  const guests = new Map<string, Guest>();

  beforeAll(async () => {
    lab = await openLab();
    await lab.addBridge({ name: "br0", address: "10.0.9.1/24" });
    const near = await lab.addFabric({
      name: "fab0",
      hostAddress: `${HOST_ADDRESSES[0]}/24`,
      address: "192.0.2.10/24",
    });
    const far = await lab.addFabric({
      name: "fab1",
      hostAddress: `${HOST_ADDRESSES[1]}/24`,
      address: "198.51.100.10/24",
    });
    for (const guest of await lab.addGuests(GUESTS)) guests.set(guest.name, guest);
    await Promise.all([
      startHttpServer(lab.host, { address: "127.0.0.1", port: 8080 }),
      startDnsServer(lab.host, { address: "127.0.0.1", port: 5353 }),
      startHttpServer(near, { address: "192.0.2.10", port: 8080 }),
      startDnsServer(near, { address: "192.0.2.10", port: 53 }),
      startHttpServer(far, { address: "198.51.100.10", port: 8080 }),
    ]);
    const iperf = ["iperf3", "--server", "--forceflush"];
    for (const server of await Promise.all([lab.host.start(iperf), near.start(iperf)])) {
      await server.waitForLine(/^Server listening/);
    }
    await startAgent(lab, {
      services: [
        { name: "iperf-local", address: LOCAL, port: 5201, backends: ["127.0.0.1:5201"] },
        { name: "iperf-fabric", address: FABRIC, port: 5201, backends: ["192.0.2.10:5201"] },
        { name: "web-local", address: LOCAL, port: 80, backends: ["127.0.0.1:8080"] },
        { name: "dns-local", address: LOCAL, port: 53, protocol: "udp", backends: ["127.0.0.1:5353"] },
        { name: "web-fabric", address: FABRIC, port: 80, backends: ["192.0.2.10:8080"] },
        { name: "dns-fabric", address: FABRIC, port: 53, protocol: "udp", backends: ["192.0.2.10:53"] },
        {
          name: "spread",
          address: SPREAD,
          port: 80,
          backends: ["192.0.2.10:8080", "198.51.100.10:8080"],
        },
      ],
      interfaces: [{ name: "vif-*" }],
      agent: { attach },
    });
    expect((await statusOf(lab)).attach).toBe(attach);
  });
  afterAll(() => lab?.close());

  describe.each(GUESTS)("$title", ({ name, behaviour }) => {
    test.each([
      ["host-local", LOCAL],
      ["fabric", FABRIC],
    ] as const)("%s backend", async (kind, service) => {
      const guest = guests.get(name)!;
      const seen = await requestFrom(guest, `http://${service}/hello?${name}`);
      expect(seen.url).toBe(`/hello?${name}`);
      expect(seen.peer).toMatch(kind === "fabric" ? /^192\.0\.2\.1$/ : /^169\.254\.64\.\d+$/);
      expect(await dig(guest, service, "a.test", "A")).toBe("203.0.113.53");
      expect(await dig(guest, service, "who.test", "TXT")).toBe(`"${seen.peer}"`);
      // As large as one frame takes.
      expect((await dig(guest, service, "size-1400.test", "TXT", "+bufsize=4096")).length).toBeGreaterThan(
        1300,
      );

      expect(await hashOfDownload(guest, `http://${service}/bytes/${MEGABYTE}`)).toBe(hashOfBytes(MEGABYTE));
      const echo = await hashesOfEcho(guest, `http://${service}/echo`, MEGABYTE);
      expect(echo.returned).toBe(echo.sent);

      for (const direction of [[], ["--reverse"]]) {
        const bytes = 40 * MEGABYTE;
        const report = await output(guest, [
          ...["iperf3", "--client", service, "--bytes", String(bytes), "--json"],
          ...direction,
        ]);
        // The server is told to stop before it has read the last of it, which may be as much as buffers hold.
        expect(JSON.parse(report).end.sum_received.bytes).toBeGreaterThan(bytes / 2);
      }

      await ping(guest, service);
      if (behaviour === "on-link") {
        expect(await arping(guest, service)).toBe(GATEWAY_MAC);
        expect(await output(guest, ["ip", "neigh", "show", service])).toMatch(
          new RegExp(`lladdr ${GATEWAY_MAC} (REACHABLE|STALE|DELAY)`),
        );
      } else {
        expect(await output(guest, ["ip", "neigh", "show", service])).toBe("");
      }
    });
  });

  test("connections spread over two backends, and each stays with its own", async () => {
    const guest = guests.get("g1")!;
    const peers = new Set<string>();
    // The chance that one of two is never picked is 2^-29.
    for (let count = 0; count < 30 && peers.size < 2; count++) {
      peers.add((await requestFrom(guest, `http://${SPREAD}/`)).peer);
    }
    expect([...peers].sort()).toEqual(HOST_ADDRESSES);

    const answers = await output(guest, [...CURL, `http://${SPREAD}/[1-30]`]);
    const seen = answers
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line));
    expect(seen).toHaveLength(30);
    expect(new Set(seen.map(({ peer, peerPort }) => `${peer}:${peerPort}`)).size).toBe(1);
  });
});
