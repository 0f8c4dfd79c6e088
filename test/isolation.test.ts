/** What guests must never notice of each other, and what onlink must leave alone. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Fabric, type Guest, type Lab, openLab } from "../src/lab/lab.ts";
import { startDnsServer, startHttpServer } from "../src/lab/servers.ts";
import { waitFor } from "../src/lab/wait.ts";
import { metadataAddressIn, startAgent, statusOf } from "./support/agent.ts";
import { arping, CURL, dig, hashesOfEcho, output, ping, requestFrom } from "./support/commands.ts";

const LOCAL = "169.254.169.254";
const FABRIC = "169.254.169.253";
const CONFIG = {
  services: [
    { name: "web-local", address: LOCAL, port: 80, backends: ["127.0.0.1:8080"] },
    { name: "dns-local", address: LOCAL, port: 53, protocol: "udp", backends: ["127.0.0.1:5353"] },
    { name: "web-fabric", address: FABRIC, port: 80, backends: ["192.0.2.10:8080"] },
    { name: "dns-fabric", address: FABRIC, port: 53, protocol: "udp", backends: ["192.0.2.10:53"] },
  ],
  interfaces: [{ name: "vif-*" }],
};

describe("two guests with the same address and source port", () => {
  let lab: Lab;
  let guests: Guest[];
  let fabric: Fabric;

  beforeAll(async () => {
    lab = await openLab();
    fabric = await lab.addFabric({
      name: "fab0",
      hostAddress: "192.0.2.1/24",
      address: "192.0.2.10/24",
    });
    const tenant = {
      link: "veth",
      address: "10.0.1.3/24",
      gateway: "10.0.1.1",
      gatewayOnHost: false,
    } as const;
    guests = await lab.addGuests([
      { ...tenant, name: "red", behaviour: "routed" },
      { ...tenant, name: "blue", behaviour: "on-link" },
    ]);
    await Promise.all([
      startHttpServer(lab.host, { address: "127.0.0.1", port: 8080 }),
      startDnsServer(lab.host, { address: "127.0.0.1", port: 5353 }),
      startHttpServer(fabric, { address: "192.0.2.10", port: 8080 }),
      startDnsServer(fabric, { address: "192.0.2.10", port: 53 }),
    ]);
  });
  afterAll(() => lab?.close());

  test("are told apart by their metadata address, the same after a restart of the agent", async () => {
    const agent = await startAgent(lab, CONFIG);
    const status = await statusOf(lab);
    const addresses = guests.map(({ vif }) => metadataAddressIn(status, vif));
    expect(new Set(addresses).size).toBe(2);

    const peers = () =>
      Promise.all(guests.map(async (guest) => (await requestFrom(guest, `http://${LOCAL}/`)).peer));
    expect(await peers()).toEqual(addresses);
    await agent.stop();
    await startAgent(lab, CONFIG);
    expect(await peers()).toEqual(addresses);
  });

  test.each([
    // A host-local backend sees the guest's own port; another for each test, as the kernel keeps closed ones for a while.
    ["host-local", LOCAL, "40000", ["169.254.64.2:40000", "169.254.64.3:40000"]],
    ["fabric", FABRIC, "40001", [/^192\.0\.2\.1:6\d{4}$/, /^192\.0\.2\.1:6\d{4}$/]],
  ])("never mix over TCP, %s backend", async (kind, service, port, expectedPeers) => {
    const server = kind === "fabric" ? fabric : lab.host;
    const peers = async () => {
      const sockets = await output(server, ["ss", "-Htn", "state", "established", "sport = :8080"]);
      return sockets
        .split("\n")
        .flatMap((line) => /(\S+)\s*$/.exec(line)?.[1] ?? [])
        .sort();
    };
    // Slow enough that each is under way while the other is.
    const options = ["--local-port", port, "--limit-rate", "2M"];
    const [[red, blue]] = await Promise.all([
      Promise.all(
        guests.map((guest) => hashesOfEcho(guest, `http://${service}/echo`, 3_000_000, ...options)),
      ),
      waitFor("both connections at once", async () => (await peers()).length === 2).then(async () => {
        const seen = await peers();
        expect(seen).toEqual(
          expectedPeers.map((peer) => (typeof peer === "string" ? peer : expect.stringMatching(peer))),
        );
        expect(new Set(seen).size).toBe(2);
      }),
    ]);
    expect(red!.returned).toBe(red!.sent);
    expect(blue!.returned).toBe(blue!.sent);
    expect(red!.sent).not.toBe(blue!.sent);
  });

  test("never mix over UDP", async () => {
    const status = await statusOf(lab);
    const ask = (guest: Guest, service: string, size: number) =>
      dig(guest, service, "-b", "10.0.1.3#40000", `size-${size}.test`, "TXT");
    for (let round = 0; round < 10; round++) {
      for (const service of [LOCAL, FABRIC]) {
        const [red, blue] = await Promise.all([ask(guests[0]!, service, 200), ask(guests[1]!, service, 300)]);
        expect(blue.length - red.length).toBe(100);
      }
    }
    for (const guest of guests) {
      const seen = await dig(guest, LOCAL, "-b", "10.0.1.3#40000", "who.test", "TXT");
      expect(seen).toBe(`"${metadataAddressIn(status, guest.vif)}"`);
    }
  });
});

describe("guests on a bridge", () => {
  let lab: Lab;
  let one: Guest;
  let other: Guest;
  let free: Guest;
  let impostor: Guest;

  beforeAll(async () => {
    lab = await openLab();
    await lab.addBridge({ name: "br0", address: "10.0.2.1/24" });
    const member = { link: "bridge", bridge: "br0", behaviour: "on-link", gateway: "10.0.2.1" } as const;
    [one, other, free, impostor] = (await lab.addGuests([
      { ...member, name: "one", address: "10.0.2.3/24" },
      { ...member, name: "other", address: "10.0.2.4/24" },
      { ...member, name: "free", address: "10.0.2.5/24" },
      { ...member, name: "impostor", address: "10.0.2.6/24" },
    ])) as [Guest, Guest, Guest, Guest];
    await output(one, ["ip", "addr", "add", "169.254.10.1/16", "dev", "eth0"]);
    await output(other, ["ip", "addr", "add", "169.254.10.2/16", "dev", "eth0"]);
    // A guest that has the service address itself: who reaches it is not served by onlink.
    await output(impostor, ["ip", "addr", "add", `${LOCAL}/32`, "dev", "eth0"]);
    await Promise.all([
      startHttpServer(lab.host, { address: "127.0.0.1", port: 8080 }),
      startHttpServer(lab.host, { address: "10.0.2.1", port: 80 }),
      ...[one, other, impostor].map((guest) => startHttpServer(guest, { address: "0.0.0.0", port: 80 })),
    ]);
    await startAgent(lab, {
      services: [{ name: "web", address: LOCAL, port: 80, backends: ["127.0.0.1:8080"] }],
      interfaces: [{ name: "vif-one" }, { name: "vif-oth*" }],
    });
  });
  afterAll(() => lab?.close());

  test("reach each other by link-local addresses that are no service, and the service too", async () => {
    await ping(one, "169.254.10.2");
    await ping(other, "169.254.10.1");
    const fromOne = await requestFrom(one, "http://169.254.10.2/", "--interface", "169.254.10.1");
    expect(fromOne.peer).toBe("169.254.10.1");
    const fromOther = await requestFrom(other, "http://169.254.10.1/", "--interface", "169.254.10.2");
    expect(fromOther.peer).toBe("169.254.10.2");
    expect(await arping(one, "169.254.10.2")).toBe(other.mac);

    // With a source address of its own choice (RFC 3927) as with a given one.
    for (const source of ["169.254.10.1", "10.0.2.3"]) {
      const served = await requestFrom(one, `http://${LOCAL}/`, "--interface", source);
      expect(served.peer).toMatch(/^169\.254\.64\./);
    }
  });

  test("reach everything else as before", async () => {
    await ping(one, "10.0.2.1");
    await ping(one, "10.0.2.6");
    expect((await requestFrom(one, "http://10.0.2.1/")).peer).toBe("10.0.2.3");
    expect((await requestFrom(one, "http://10.0.2.6/")).peer).toBe("10.0.2.3");
  });

  test("are not touched where no rule names them", async () => {
    expect(await arping(free, LOCAL)).toBe(impostor.mac);
    expect((await requestFrom(free, `http://${LOCAL}/`)).peer).toBe("10.0.2.5");
    expect((await statusOf(lab)).interfaces.map(({ name }) => name)).toEqual(["vif-one", "vif-other"]);
  });

  test("get no answer from onlink where no rule names them and nobody else answers", async () => {
    await output(impostor, ["ip", "addr", "del", `${LOCAL}/32`, "dev", "eth0"]);
    await output(free, ["ip", "neigh", "flush", "dev", "eth0"]);
    // All but ARP among the guests, who look each other up again when they like.
    const counted = async () => ({ ...(await statusOf(lab)).counters, "arp-other": undefined });
    const before = await counted();
    expect(await arping(free, LOCAL)).toBeUndefined();
    const { code } = await free.run([...CURL, "--connect-timeout", "1", `http://${LOCAL}/`]);
    expect(code).not.toBe(0);
    expect(await counted()).toEqual(before);
  });
});
