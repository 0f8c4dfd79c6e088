import { pino } from "pino";
import { describe, expect, it } from "vitest";
import { parseConfig } from "../config/load.ts";
import type { Config } from "../config/schema.ts";
import type { ServiceEntry } from "../datapath/types.ts";
import type { Route } from "../linux/rtnetlink.ts";
import { resolveBackend } from "./backends.ts";
import { fakeDatapath, fakeLink, fakeNetwork } from "./fakes.ts";
import type { NameState } from "./names.ts";
import { createServices, useOf } from "./services.ts";

const links = [
  fakeLink(1, "lo", { hardware: 772 }),
  fakeLink(2, "eth0"),
  fakeLink(3, "eth1"),
  fakeLink(4, "wg0", { hardware: 65534 }),
  fakeLink(10, "onlink0"),
];
const own = new Set([10, 11]);

describe("resolveBackend", () => {
  const resolve = (route: Partial<Route> | undefined) =>
    resolveBackend(
      { address: "192.0.2.1", port: 53 },
      fakeNetwork(links, route === undefined ? {} : { "192.0.2.1": route }),
      { own, sourceAddress: undefined },
    );

  it("tells backends on this host from those behind the fabric", () => {
    expect(resolve({ type: "local", ifindex: 1 })).toEqual({
      inUse: true,
      entry: { kind: "host-local", address: "192.0.2.1", port: 53 },
    });
    expect(resolve({ ifindex: 2 })).toEqual({
      inUse: true,
      entry: { kind: "fabric", address: "192.0.2.1", port: 53, source: "192.0.2.10", ifindex: 2 },
      interface: "eth0",
    });
  });

  it("takes fabric.sourceAddress where it is an address of this host", () => {
    const toBackend = { "192.0.2.1": { ifindex: 2 } };
    const resolveWith = (routes: Record<string, Partial<Route>>) =>
      resolveBackend({ address: "192.0.2.1", port: 53 }, fakeNetwork(links, { ...toBackend, ...routes }), {
        own,
        sourceAddress: "192.0.2.77",
      });
    expect(resolveWith({ "192.0.2.77": { type: "local", ifindex: 1 } })).toMatchObject({
      entry: { source: "192.0.2.77" },
    });
    const reason = "fabric.sourceAddress 192.0.2.77 is not an address of this host";
    expect(resolveWith({})).toEqual({ inUse: false, reason });
    expect(resolveWith({ "192.0.2.77": { ifindex: 2 } })).toEqual({ inUse: false, reason });
  });

  it.each<[string, Partial<Route> | undefined]>([
    ["no route to it", undefined],
    ["its route is of type broadcast", { type: "broadcast", ifindex: 2 }],
    ["its route leads to an interface that is gone", { ifindex: 99 }],
    ["its route leads through onlink's own device onlink0", { ifindex: 10 }],
    ["its route leads through wg0, which is not Ethernet", { ifindex: 4 }],
    ["this host has no address towards it (eth0)", { ifindex: 2, source: undefined }],
  ])("says why a backend is out of use: %s", (reason, route) => {
    expect(resolve(route)).toEqual({ inUse: false, reason });
  });
});

function configOf(fabric: string): Config {
  const result = parseConfig(
    `
services:
  - { name: web, address: 169.254.169.254, port: 80, backends: ["127.0.0.1:8080"], whenNoBackend: pass }
  - name: dns
    address: 169.254.169.253
    port: 53
    protocol: [udp, tcp]
    backends: ["192.0.2.1:53", "198.51.100.1:53"]
interfaces: [{ name: "tap*" }]
${fabric}`,
    "test.yaml",
  );
  if (!result.ok) throw new Error(result.errors[0]?.message);
  return result.config;
}

/** What is known of names and health, by name and by `SERVICE ADDRESS`; `checked` is by service. */
interface World {
  names: Record<string, NameState>;
  unhealthy: Set<string>;
  checked: Record<string, string[]>;
}

function setUp(routes: Record<string, Partial<Route>>, fabric = "", config = configOf(fabric)) {
  const fake = fakeDatapath();
  const world: World = { names: {}, unhealthy: new Set(), checked: {} };
  const waits: number[] = [];
  const startWith = (config: Config) =>
    createServices({
      config,
      network: fakeNetwork(links, routes),
      datapath: fake.datapath,
      names: { follow: () => {}, stateOf: (name) => world.names[name] ?? { addresses: [], problem: "new" } },
      health: {
        follow: ({ name }, endpoints) => {
          world.checked[name] = endpoints.map(({ address }) => address);
        },
        keepOnly: () => {},
        stateOf: (service, { address }) => ({
          state: world.unhealthy.has(`${service} ${address}`) ? "unhealthy" : "healthy",
          since: "2026-01-02T03:04:05.000Z",
          error: "connection refused",
        }),
      },
      own,
      onFabric: (ifindexes) => fake.writes.push(`fabric is ${[...ifindexes]}`),
      reconcileIn: (ms) => waits.push(ms),
      log: pino({ enabled: false }),
    });
  return { ...fake, fake, services: startWith(config), waits, world, startWith };
}

const loopback: Partial<Route> = { type: "local", ifindex: 1 };
/** What is written while nothing changes. */
const quiet = (ifindexes: string) => [`fabric is ${ifindexes}`, `fabric is ${ifindexes}`];

describe("services", () => {
  it("attaches the fabric program before the first guest is sent that way; then has nothing to write", () => {
    const { services, takeWrites, datapath } = setUp({
      "127.0.0.1": loopback,
      "192.0.2.1": { ifindex: 2 },
    });
    services.reconcile();
    const writes = takeWrites();
    expect(writes.slice(0, 2)).toEqual(["fabric is 2", "attach fabric 2"]);
    expect(datapath.services.entries()).toEqual([
      [
        { address: "169.254.169.254", port: 80, protocol: "tcp" },
        { id: 1, backends: 1, responseHopLimit: 64, whenNoBackend: "pass", drain: 30_000, drainEnds: 0n },
      ],
      [
        { address: "169.254.169.253", port: 53, protocol: "udp" },
        { id: 2, backends: 1, responseHopLimit: 64, whenNoBackend: "reject", drain: 30_000, drainEnds: 0n },
      ],
      [
        { address: "169.254.169.253", port: 53, protocol: "tcp" },
        { id: 3, backends: 1, responseHopLimit: 64, whenNoBackend: "reject", drain: 30_000, drainEnds: 0n },
      ],
    ]);
    expect(datapath.serviceAddresses.get("169.254.169.253")).toEqual({ services: 2 });
    expect(services.list()[1]?.backends[1]?.resolved).toEqual({ inUse: false, reason: "no route to it" });

    services.reconcile();
    expect(takeWrites()).toEqual(quiet("2"));
  });

  it("follows a route to another interface: the new one is attached first, the old one detached last", () => {
    const routes: Record<string, Partial<Route>> = { "192.0.2.1": { ifindex: 2 } };
    const { services, takeWrites } = setUp(routes);
    services.reconcile();
    takeWrites();
    routes["192.0.2.1"] = { ifindex: 3 };
    services.reconcile();
    const entry = '{"kind":"fabric","address":"192.0.2.1","port":53,"source":"192.0.2.10","ifindex":3}';
    expect(takeWrites()).toEqual([
      "fabric is 2,3",
      "attach fabric 3",
      `set backend {"service":2,"slot":0} ${entry}`,
      `set backend {"service":3,"slot":0} ${entry}`,
      "detach fabric 2",
      "fabric is 3",
    ]);
  });

  it("keeps an interface that no backend needs any more until its last flow is gone", () => {
    const routes: Record<string, Partial<Route>> = { "192.0.2.1": { ifindex: 2 } };
    const { services, takeWrites, fake } = setUp(routes);
    services.reconcile();
    fake.flowsThrough = [0, 2];
    routes["192.0.2.1"] = { ifindex: 3 };
    services.reconcile();
    expect(fake.attached.map(({ ifindex }) => ifindex)).toEqual([2, 3]);
    expect(services.fabric().map(({ name }) => name)).toEqual(["eth1"]);
    takeWrites();
    services.reconcile();
    expect(takeWrites()).toEqual(["fabric is 2,3", "fabric is 3,2"]);
    fake.flowsThrough = [0, 3];
    services.reconcile();
    expect(takeWrites()).toEqual(["fabric is 2,3", "detach fabric 2", "fabric is 3"]);
  });

  it("renews the program on an interface that an earlier agent kept for its flows", () => {
    const { services, takeWrites, fake } = setUp({ "192.0.2.1": { ifindex: 2 } });
    fake.attached.push(
      { program: "fabric", ifindex: 3, how: "tcx" },
      { program: "fabric", ifindex: 9, how: "tcx" },
    );
    fake.flowsThrough = [3, 9];
    services.reconcile();
    const writes = takeWrites();
    expect(writes).toContain("attach fabric 3");
    // 9 is gone itself.
    expect(writes.filter((write) => write.startsWith("detach"))).toEqual(["detach fabric 9"]);
  });

  it("attaches an interface anew that went away and came back with its ifindex", () => {
    const { services, takeWrites } = setUp({ "192.0.2.1": { ifindex: 2 } });
    services.reconcile();
    takeWrites();
    services.forgetAttachments(3);
    services.reconcile();
    expect(takeWrites()).toEqual(quiet("2"));
    services.forgetAttachments(2);
    services.reconcile();
    expect(takeWrites()).toContain("attach fabric 2");
  });

  it("keeps the service and says why while no backend is in use", () => {
    const routes: Record<string, Partial<Route>> = { "127.0.0.1": loopback, "192.0.2.1": { ifindex: 2 } };
    const { services, takeWrites, datapath } = setUp(routes);
    services.reconcile();
    takeWrites();
    delete routes["192.0.2.1"];
    services.reconcile();
    expect(datapath.services.entries().map(([, { backends }]) => backends)).toEqual([1, 0, 0]);
    expect(takeWrites()).toContain("detach fabric 2");
    expect(services.fabric()).toEqual([]);
  });

  it("sends no guest through an interface that could not be attached, and tries again", () => {
    const { services, broken, datapath } = setUp({ "192.0.2.1": { ifindex: 2 } });
    broken.set(2, "no room");
    services.reconcile();
    expect(services.fabric()).toEqual([{ name: "eth0", state: "failed", ifindex: 2, reason: "no room" }]);
    expect(services.list()[1]?.backends[0]?.resolved).toEqual({ inUse: false, reason: "eth0: no room" });
    expect(datapath.backends.entries()).toEqual([]);
    broken.clear();
    services.reconcile();
    expect(services.fabric()).toEqual([{ name: "eth0", state: "attached", ifindex: 2 }]);
    expect(datapath.backends.entries().length).toBe(2);
  });

  it("attaches the interfaces that the configuration names, besides those that lead to backends", () => {
    const { services, attached, datapath } = setUp(
      { "192.0.2.1": { ifindex: 2 }, "192.0.2.99": loopback },
      "fabric: { interfaces: [eth1, eth7, wg0], sourceAddress: 192.0.2.99 }",
    );
    services.reconcile();
    expect(services.fabric()).toEqual([
      { name: "eth1", state: "attached", ifindex: 3 },
      { name: "eth7", state: "waiting" },
      { name: "wg0", state: "failed", ifindex: 4, reason: "it is not Ethernet" },
      { name: "eth0", state: "attached", ifindex: 2 },
    ]);
    expect(attached.map(({ ifindex }) => ifindex).sort()).toEqual([2, 3]);
    expect(datapath.backends.get({ service: 2, slot: 0 })).toMatchObject({ source: "192.0.2.99" });
  });

  it("renews attachments that an earlier agent left, and removes those that are not needed", () => {
    const { services, takeWrites, attached } = setUp({ "192.0.2.1": { ifindex: 2 } });
    attached.push(
      { program: "fabric", ifindex: 2, how: "tcx" },
      { program: "fabric", ifindex: 9, how: "tcx" },
      { program: "vif", ifindex: 20, how: "tcx" },
    );
    services.reconcile();
    const writes = takeWrites();
    expect(writes).toContain("attach fabric 2");
    expect(writes.filter((write) => write.startsWith("detach"))).toEqual(["detach fabric 9"]);
    services.forgetAttachments();
    services.reconcile();
    expect(takeWrites()).toContain("attach fabric 2");
  });

  it("writes of a changed configuration what differs and no more", () => {
    const { services, takeWrites } = setUp({ "127.0.0.1": loopback, "192.0.2.1": { ifindex: 2 } });
    services.reconcile();
    takeWrites();
    const config = configOf("");
    services.configure(config);
    expect(takeWrites()).toEqual([]);
    const [web, dns] = config.services;
    services.configure({ ...config, services: [{ ...web!, responseHopLimit: 1 }, dns!] });
    expect(takeWrites()).toEqual([
      'set service {"address":"169.254.169.254","port":80,"protocol":"tcp"} ' +
        '{"id":1,"backends":1,"responseHopLimit":1,"whenNoBackend":"pass","drain":30000,"drainEnds":"0"}',
    ]);
    expect(services.list()[0]?.service.responseHopLimit).toBe(1);
    services.configure(config);
    takeWrites();
    services.configure({ ...config, services: [{ ...dns!, backends: dns!.backends.slice(1) }, web!] });
    expect(services.list().map(({ service }) => service.name)).toEqual(["dns", "web"]);
    const entry = `{"id":2,"backends":0,"responseHopLimit":64,"whenNoBackend":"reject","drain":30000,"drainEnds":"0"}`;
    expect(takeWrites()).toEqual([
      "fabric is 2",
      `set service {"address":"169.254.169.253","port":53,"protocol":"udp"} ${entry}`,
      `set service {"address":"169.254.169.253","port":53,"protocol":"tcp"} ${entry.replace("2", "3")}`,
      'delete backend {"service":2,"slot":0}',
      'delete backend {"service":3,"slot":0}',
      "end flows of service 2 to 192.0.2.1:53, of service 3 to 192.0.2.1:53",
      "detach fabric 2",
      "fabric is ",
    ]);
  });

  it("takes away a protocol of a service, though its name stays", () => {
    const { services, datapath } = setUp({ "127.0.0.1": loopback });
    services.reconcile();
    const config = configOf("");
    const [web, dns] = config.services;
    services.configure({ ...config, services: [web!, { ...dns!, protocol: ["udp"] }] });
    expect(services.draining().map(({ key }) => key.protocol)).toEqual(["tcp"]);
    expect(datapath.serviceAddresses.get("169.254.169.253")).toEqual({ services: 2 });
  });

  it("drains a service that is no longer configured, by the time that it was given, and asks to be called then", () => {
    const { services, takeWrites, datapath, waits } = setUp({});
    const key = { address: "169.254.169.250", port: 1, protocol: "tcp" } as const;
    const entry: ServiceEntry = {
      id: 7,
      backends: 1,
      responseHopLimit: 64,
      whenNoBackend: "reject",
      drain: 5000,
      drainEnds: 0n,
    };
    datapath.services.set(key, entry);
    const before = process.hrtime.bigint();
    services.reconcile();
    const [draining] = services.draining();
    expect(draining?.key).toEqual(key);
    expect(Number(draining!.ends - before)).toBeGreaterThanOrEqual(5e9);
    expect(datapath.services.get(key)).toEqual({ ...entry, backends: 0, drainEnds: draining!.ends });
    expect(datapath.serviceAddresses.get(key.address)).toEqual({ services: 1 });
    expect(waits).toHaveLength(1);
    expect(waits[0]).toBeGreaterThan(0);
    expect(waits[0]).toBeLessThanOrEqual(5001);
    expect(takeWrites()).not.toContain("end flows of service 7");
  });

  it("ends the flows of a removed service when its drain has ended while no agent ran", () => {
    const { services, takeWrites, datapath, waits } = setUp({});
    const key = { address: "169.254.169.250", port: 1, protocol: "tcp" } as const;
    const rest = { backends: 0, responseHopLimit: 64, whenNoBackend: "reject", drain: 5000 } as const;
    datapath.services.set(key, { id: 7, ...rest, drainEnds: 1n });
    services.reconcile();
    expect(takeWrites()).toContain("end flows of service 7");
    expect(datapath.services.get(key)).toBeUndefined();
    expect(waits).toEqual([]);
  });
});

describe("backends that come and go", () => {
  const config = (): Config => {
    const result = parseConfig(
      `
services:
  - { name: web, address: 169.254.169.254, port: 80, backends: ["127.0.0.1:8080"] }
  - name: dns
    address: 169.254.169.253
    port: 53
    protocol: udp
    healthCheck: { type: tcp, port: 53 }
    backends: ["ns.example:53", "127.0.0.1:53"]
interfaces: [{ name: "tap*" }]`,
      "test.yaml",
    );
    if (!result.ok) throw new Error(result.errors[0]?.message);
    return result.config;
  };
  const routes = (): Record<string, Partial<Route>> => ({
    "127.0.0.1": loopback,
    "192.0.2.1": { ifindex: 2 },
    "192.0.2.2": { ifindex: 2 },
    "198.51.100.1": { ifindex: 3 },
  });
  const isDns = ({ name }: { name: string }) => name === "dns";
  function start(addresses: string[]) {
    const all = setUp(routes(), "", config());
    all.world.names["ns.example"] = { addresses };
    all.services.reconcile();
    all.takeWrites();
    const slots = () =>
      all.datapath.backends
        .entries()
        .flatMap(([{ service }, { address }]) => (service === 2 ? [address] : []));
    return { ...all, slots };
  }
  const fabricEntry = (address: string) =>
    `{"kind":"fabric","address":"${address}","port":53,"source":"192.0.2.10","ifindex":2}`;

  it("a name's addresses are backends; a change of them writes its service's entries alone and ends the flows to what is gone", () => {
    const { services, world, takeWrites, slots } = start(["192.0.2.1"]);
    expect(slots()).toEqual(["192.0.2.1", "127.0.0.1"]);
    world.names["ns.example"] = { addresses: ["192.0.2.2"] };
    services.update(isDns);
    expect(takeWrites()).toEqual([
      `set backend {"service":2,"slot":0} ${fabricEntry("192.0.2.2")}`,
      "end flows of service 2 to 192.0.2.1:53",
    ]);
    services.update(isDns);
    expect(takeWrites()).toEqual([]);
    expect(services.list()[1]?.backends[0]).toMatchObject({ name: "ns.example", address: "192.0.2.2" });
  });

  it("a name that leads nowhere, or to a forbidden address, is out of use and says why", () => {
    const { services, world, slots } = start(["169.254.169.254"]);
    expect(slots()).toEqual(["127.0.0.1"]);
    const reason = () => useOf(services.list()[1]!.backends[0]!);
    expect(reason()).toEqual({ inUse: false, reason: "the name leads to a service address" });
    expect(world.checked.dns).toEqual(["127.0.0.1"]);
    world.names["ns.example"] = { addresses: [], problem: "there is no such name" };
    services.update(isDns);
    expect(reason()).toEqual({ inUse: false, reason: "there is no such name" });
  });

  it("an address behind another fabric interface: the program is there before the first guest is sent that way", () => {
    const { services, world, takeWrites } = start(["192.0.2.1"]);
    world.names["ns.example"] = { addresses: ["198.51.100.1"] };
    services.update(isDns);
    const writes = takeWrites();
    expect(writes.indexOf("attach fabric 3")).toBeGreaterThanOrEqual(0);
    expect(writes.indexOf("attach fabric 3")).toBeLessThan(
      writes.findIndex((write) => write.includes("198.51.100.1")),
    );
    expect(writes).toContain("detach fabric 2");
  });

  it("an unhealthy backend leaves its slot, its flows end once, and its fabric interface stays", () => {
    const { services, world, takeWrites, slots } = start(["192.0.2.1"]);
    world.unhealthy.add("dns 192.0.2.1");
    services.update(isDns);
    expect(slots()).toEqual(["127.0.0.1"]);
    expect(takeWrites().at(-1)).toBe("end flows of service 2 to 192.0.2.1:53");
    expect(useOf(services.list()[1]!.backends[0]!)).toEqual({
      inUse: false,
      reason: "unhealthy: connection refused",
    });
    services.reconcile();
    expect(takeWrites()).toEqual(quiet("2"));
    world.unhealthy.add("dns 127.0.0.1");
    services.update(isDns);
    expect(slots()).toEqual([]);
    world.unhealthy.clear();
    services.update(isDns);
    expect(slots()).toEqual(["192.0.2.1", "127.0.0.1"]);
  });

  it("a service that comes back while it drains, with other backends: flows to those that it had end", () => {
    const config = configOf("");
    const [web, dns] = config.services;
    const { services, takeWrites } = setUp(routes(), "", config);
    const ended = () => takeWrites().filter((write) => write.startsWith("end flows"));
    services.reconcile();
    services.configure({ ...config, services: [web!] });
    services.reconcile();
    expect(ended()).toEqual([]);
    services.configure({ ...config, services: [web!, { ...dns!, backends: dns!.backends.slice(1) }] });
    expect(ended()).toEqual(["end flows of service 2 to 192.0.2.1:53, of service 3 to 192.0.2.1:53"]);
  });

  it("the same where another agent removed it", () => {
    const config = configOf("");
    const [web, dns] = config.services;
    const { services, takeWrites, startWith } = setUp(routes(), "", config);
    services.reconcile();
    services.configure({ ...config, services: [web!] });
    takeWrites();
    startWith({ ...config, services: [web!, { ...dns!, backends: dns!.backends.slice(1) }] }).reconcile();
    expect(takeWrites().filter((write) => write.startsWith("end flows"))).toEqual([
      "end flows of service 2 to 192.0.2.1:53, of service 3 to 192.0.2.1:53",
    ]);
  });

  it("a backend without a route keeps its flows; they end when it goes from the configuration", () => {
    const withRoutes = routes();
    const { services, takeWrites } = setUp(withRoutes);
    services.reconcile();
    takeWrites();
    delete withRoutes["192.0.2.1"];
    services.reconcile();
    expect(takeWrites().filter((write) => write.startsWith("end flows"))).toEqual([]);
    const now = configOf("");
    const [web, dns] = now.services;
    services.configure({ ...now, services: [web!, { ...dns!, backends: dns!.backends!.slice(1) }] });
    expect(takeWrites().filter((write) => write.startsWith("end flows"))).toEqual([
      "end flows of service 2 to 192.0.2.1:53, of service 3 to 192.0.2.1:53",
    ]);
  });

  it("what went from the configuration while no agent ran is gone at the start", () => {
    const { services, takeWrites, datapath } = setUp(routes(), "", config());
    const key = { address: "169.254.169.254", port: 80, protocol: "tcp" } as const;
    const rest = { responseHopLimit: 64, whenNoBackend: "reject", drain: 30_000, drainEnds: 0n } as const;
    datapath.backends.set({ service: 7, slot: 0 }, { kind: "host-local", address: "127.0.0.1", port: 9999 });
    datapath.services.set(key, { id: 7, backends: 1, ...rest });
    services.reconcile();
    expect(takeWrites()).toContain("end flows of service 7 to 127.0.0.1:9999");
  });

  it.each([
    ["a service that is new", "web"],
    ["a service that is there", "web, dns"],
  ])("backends of %s for which there is no room leave the room to fewer", (_, first) => {
    const config = configOf("");
    const web = config.services[0]!;
    const backends = [1, 2, 3, 4].map((port) => ({ ...web.backends[0]!, port }));
    const dnsWith = (count: number): typeof web => ({
      ...config.services[1]!,
      protocol: ["udp"],
      backends: backends.slice(0, count),
    });
    const before = { ...config, services: first === "web" ? [web] : [web, dnsWith(1)] };
    const { services, datapath } = setUp(routes(), "", before);
    services.reconcile();
    const { set, entries, get } = datapath.backends;
    datapath.backends.set = (key, entry) => {
      if (entries().length === 4 && get(key) === undefined) throw new Error("full");
      set(key, entry);
    };
    const full = /^service dns \(169.254.169.253:53\/udp\), backend 127.0.0.1:4: full$/;
    expect(() => services.configure({ ...config, services: [web, dnsWith(4)] })).toThrow(full);
    expect(() => services.reconcile(), "what is configured did not become less").toThrow(full);
    const ntp = { ...dnsWith(2), name: "ntp", port: 123 };
    services.configure({ ...config, services: [web, dnsWith(1), ntp] });
    expect(datapath.services.entries().map(([, entry]) => entry.backends)).toEqual([1, 1, 2]);
    expect(entries()).toHaveLength(4);
  });

  it("a write that fails half-way is named, and made good by the next", () => {
    const { services, world, takeWrites, datapath, slots } = start(["192.0.2.1"]);
    world.names["ns.example"] = { addresses: ["192.0.2.2"] };
    const { set } = datapath.backends;
    datapath.backends.set = () => {
      throw new Error("no memory");
    };
    expect(() => services.update(isDns)).toThrow(
      "service dns (169.254.169.253:53/udp), backend 192.0.2.2:53: no memory",
    );
    datapath.backends.set = set;
    takeWrites();
    services.reconcile();
    expect(slots()).toEqual(["192.0.2.2", "127.0.0.1"]);
    expect(takeWrites()).toContain("end flows of service 2 to 192.0.2.1:53");
  });
});
