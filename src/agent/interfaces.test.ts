import fc from "fast-check";
import { pino } from "pino";
import { describe, expect, it } from "vitest";
import { parseConfig } from "../config/load.ts";
import type { Config, InterfaceRule } from "../config/schema.ts";
import type { Vif } from "../datapath/types.ts";
import type { Link, NetworkEvent } from "../linux/rtnetlink.ts";
import { fakeDatapath, fakeLink } from "./fakes.ts";
import { createInterfaces, type Interfaces, type Registration } from "./interfaces.ts";
import { createMetadataAddresses, type SavedMetadataAddresses } from "./metadata-addresses.ts";

const plainConfig = configOf(`
services: [{ name: web, address: 169.254.169.254, port: 80, backends: ["127.0.0.1:80"] }]
interfaces: [{ name: "tap*" }, { name: veth-web }]
agent: { metadataAddresses: 169.254.64.0/28 }
`);

function configOf(text: string): Config {
  const result = parseConfig(text, "test.yaml");
  if (!result.ok) throw new Error(result.errors[0]?.message);
  return result.config;
}

function setUp(saved: SavedMetadataAddresses = [], config = plainConfig) {
  const fake = fakeDatapath();
  const addresses = createMetadataAddresses(config.agent.metadataAddresses, saved);
  const disk = { full: false };
  const registrations = new Map<string, Registration>();
  const kernel = new Map<number, Link>();
  const interfaces = createInterfaces({
    config,
    registrations: { get: (name) => registrations.get(name), names: () => registrations.keys() },
    network: { link: (ifindex) => kernel.get(Number(ifindex)) },
    datapath: fake.datapath,
    addresses,
    saveAddresses: () => {
      if (disk.full) throw new Error("no space left on device");
      fake.writes.push("save");
    },
    log: pino({ enabled: false }),
  });
  return {
    ...fake,
    fake,
    /** What it is told is so in the kernel from then on; for `told`, the kernel is what the test makes of it. */
    interfaces: following(interfaces, kernel),
    told: interfaces,
    kernel,
    registrations,
    addresses,
    disk,
  };
}

/** Tells the kernel first. */
function following(interfaces: Interfaces, kernel: Map<number, Link>): Interfaces {
  return {
    ...interfaces,
    reset(links) {
      kernel.clear();
      for (const link of links) kernel.set(link.ifindex, link);
      interfaces.reset(links);
    },
    handle(events) {
      for (const event of events) {
        if (event.kind === "link") kernel.set(event.link.ifindex, event.link);
        if (event.kind === "link-gone") kernel.delete(event.ifindex);
      }
      interfaces.handle(events);
    },
  };
}

/** A vif of which nothing but the metadata address is known, with the default settings. */
const plainVif = (metadataAddress: string, changes: Partial<Vif> = {}): Vif => ({
  metadataAddress,
  addresses: [],
  mac: undefined,
  gateway: undefined,
  antiSpoof: true,
  unknownPort: "reject",
  arpReply: "unicast",
  ...changes,
});
const linkEvent = (link: Link): NetworkEvent => ({ kind: "link", link });
const gone = ({ ifindex, name }: Link): NetworkEvent => ({ kind: "link-gone", ifindex, name });
const tap0 = fakeLink(5, "tap0");
const tap1 = fakeLink(6, "tap1");

describe("interfaces", () => {
  it("makes vifs of the Ethernet interfaces that have a rule, addresses saved first, and of no others", () => {
    const { interfaces, takeWrites } = setUp();
    interfaces.reset([
      fakeLink(1, "lo", { hardware: 772 }),
      fakeLink(2, "eth0"),
      tap0,
      fakeLink(7, "tap-ip", { hardware: 65534 }),
      tap1,
    ]);
    expect(takeWrites()).toEqual([
      "save",
      "set vif 5 169.254.64.2",
      "attach vif 5",
      "set vif 6 169.254.64.3",
      "attach vif 6",
    ]);
    expect(interfaces.list()).toEqual([
      { name: "tap-ip", state: "failed", ifindex: 7, reason: "it is not Ethernet" },
      { name: "tap0", state: "attached", ifindex: 5, metadataAddress: "169.254.64.2" },
      { name: "tap1", state: "attached", ifindex: 6, metadataAddress: "169.254.64.3" },
      { name: "veth-web", state: "waiting" },
    ]);
  });

  it("writes nothing when a known interface changes, or one without a rule comes", () => {
    const { interfaces, takeWrites } = setUp();
    interfaces.reset([tap0]);
    takeWrites();
    interfaces.handle([
      linkEvent({ ...tap0, up: false }),
      linkEvent(fakeLink(9, "eth9")),
      { kind: "routes-changed" },
    ]);
    expect(takeWrites()).toEqual([]);
  });

  it("detaches what goes, and gives it its address again when it comes back", () => {
    const { interfaces, takeWrites } = setUp();
    interfaces.reset([tap0, tap1]);
    takeWrites();
    interfaces.handle([gone(tap0)]);
    expect(takeWrites()).toEqual(["detach vif 5", "remove vif 5"]);
    interfaces.handle([linkEvent(fakeLink(8, "tap0"))]);
    expect(takeWrites()).toEqual(["set vif 8 169.254.64.2", "attach vif 8"]);
  });

  it("takes a rename, and a new interface with an old ifindex, as going and coming", () => {
    const { interfaces, takeWrites } = setUp();
    interfaces.reset([tap0]);
    takeWrites();
    interfaces.handle([linkEvent({ ...tap0, name: "tap7" })]);
    expect(takeWrites()).toEqual([
      "detach vif 5",
      "remove vif 5",
      "save",
      "set vif 5 169.254.64.3",
      "attach vif 5",
    ]);
    interfaces.handle([linkEvent({ ...tap0, name: "other" })]);
    expect(takeWrites()).toEqual(["detach vif 5", "remove vif 5"]);
    interfaces.reset([tap1]);
    takeWrites();
    interfaces.handle([gone(tap1), linkEvent(tap1)]);
    expect(takeWrites()).toEqual(["detach vif 6", "remove vif 6", "set vif 6 169.254.64.4", "attach vif 6"]);
  });

  it("keeps vifs that an earlier agent left and are wanted, and removes the others", () => {
    const { interfaces, takeWrites, vifs, fake } = setUp();
    vifs.set(5, plainVif("169.254.64.9")).set(9, plainVif("169.254.64.8"));
    fake.attached.push(
      { program: "vif", ifindex: 5, how: "tcx" },
      { program: "vif", ifindex: 11, how: "tcx" },
    );
    interfaces.reset([tap0, fakeLink(9, "eth9")]);
    expect(takeWrites()).toEqual([
      "detach vif 9",
      "remove vif 9",
      "detach vif 11",
      "remove vif 11",
      "save",
      "attach vif 5",
    ]);
  });

  it("brings vifs that an earlier agent left in step with their rules, and leaves alone those that are", () => {
    const changed = configOf(`
services: [{ name: web, address: 169.254.169.254, port: 80, backends: ["127.0.0.1:80"] }]
interfaces:
  - name: veth-web
    addresses: [10.0.1.3, 10.0.1.4, 10.0.1.5]
    mac: 02:00:0a:00:01:03
    antiSpoof: true
    gateway: { address: 10.0.1.1, answerArp: true }
  - { name: "tap*", gateway: { address: 10.0.1.1, answerArp: false } }
defaults: { antiSpoof: false, unknownPort: drop, arpReply: broadcast }
agent: { metadataAddresses: 169.254.64.0/28 }
`);
    const shared = { unknownPort: "drop", arpReply: "broadcast" } as const;
    const web = plainVif("169.254.64.8", {
      addresses: ["10.0.1.3", "10.0.1.4", "10.0.1.5"],
      mac: "02:00:0a:00:01:03",
      gateway: "10.0.1.1",
      ...shared,
    });
    const { interfaces, takeWrites, vifs } = setUp([], changed);
    // The kernel's map gives the addresses behind the first in any order.
    vifs.set(5, plainVif("169.254.64.9")).set(7, { ...web, addresses: ["10.0.1.3", "10.0.1.5", "10.0.1.4"] });
    interfaces.reset([tap0, fakeLink(7, "veth-web")]);
    expect(takeWrites()).toEqual(["save", "set vif 5 169.254.64.9", "attach vif 5", "attach vif 7"]);
    expect(vifs.get(5)).toEqual(plainVif("169.254.64.9", { antiSpoof: false, ...shared }));

    vifs.set(7, { ...web, addresses: ["10.0.1.4", "10.0.1.3", "10.0.1.5"] });
    interfaces.reset([tap0, fakeLink(7, "veth-web")]);
    expect(takeWrites()).toEqual(["attach vif 5", "set vif 7 169.254.64.8", "attach vif 7"]);
    expect(vifs.get(7)).toEqual(web);
  });

  it("takes a new configuration: changes vifs in place, and only those whose rule means something else", () => {
    const { interfaces, takeWrites, vifs } = setUp();
    interfaces.reset([tap0, tap1, fakeLink(7, "veth-web"), fakeLink(8, "new0")]);
    takeWrites();
    interfaces.configure(plainConfig);
    expect(takeWrites()).toEqual([]);
    interfaces.configure({
      ...plainConfig,
      interfaces: [
        { name: "tap1", mac: "02:00:00:00:00:09" },
        { name: "veth*" },
        { name: "new*" },
        { name: "tap0", antiSpoof: true },
      ],
    });
    expect(takeWrites()).toEqual([
      "set vif 6 169.254.64.3",
      "save",
      "set vif 8 169.254.64.5",
      "attach vif 8",
    ]);
    expect(vifs.get(6)).toEqual(plainVif("169.254.64.3", { mac: "02:00:00:00:00:09" }));
    interfaces.configure({ ...plainConfig, interfaces: [{ name: "tap0" }] });
    expect(takeWrites().filter((write) => write.startsWith("remove"))).toEqual([
      "remove vif 6",
      "remove vif 7",
      "remove vif 8",
    ]);
    expect(interfaces.list().map(({ name }) => name)).toEqual(["tap0"]);
  });

  it("looks at no interface where no section that concerns them is another", () => {
    const { interfaces, told, registrations } = setUp();
    interfaces.reset([tap0, tap1]);
    const asked: string[] = [];
    registrations.get = (name) => {
      asked.push(name);
      return undefined;
    };
    told.configure({ ...plainConfig, interfaces: structuredClone(plainConfig.interfaces) });
    expect(asked).toEqual([]);
    told.configure({ ...plainConfig, defaults: { ...plainConfig.defaults, antiSpoof: false } });
    expect(asked).toContain("tap0");
  });

  it("keeps a vif as it was whose change failed, and tries again", () => {
    const { interfaces, takeWrites, fake, vifs } = setUp();
    interfaces.reset([tap0]);
    const { setVif } = fake.datapath;
    fake.datapath.setVif = () => {
      throw new Error("no room");
    };
    const changed: Config = { ...plainConfig, defaults: { ...plainConfig.defaults, antiSpoof: false } };
    interfaces.configure(changed);
    expect(vifs.get(5)).toEqual(plainVif("169.254.64.2"));
    fake.datapath.setVif = setVif;
    takeWrites();
    interfaces.retry();
    expect(takeWrites()).toEqual(["set vif 5 169.254.64.2"]);
    expect(vifs.get(5)).toEqual(plainVif("169.254.64.2", { antiSpoof: false }));
    interfaces.retry();
    expect(takeWrites()).toEqual([]);
  });

  it("forgets the flows of another interface that had the ifindex", () => {
    const { interfaces, takeWrites, vifs } = setUp([{ name: "tap3", address: "169.254.64.9" }]);
    vifs.set(5, plainVif("169.254.64.9"));
    interfaces.reset([tap0]);
    expect(takeWrites()).toEqual(["save", "remove vif 5", "set vif 5 169.254.64.2", "attach vif 5"]);
  });

  it("has no vif on an interface that leads to fabric backends, as long as it does", () => {
    const { interfaces, takeWrites } = setUp();
    interfaces.reset([tap0]);
    takeWrites();
    interfaces.setFabric(new Set([5]));
    expect(takeWrites()).toEqual(["detach vif 5", "remove vif 5"]);
    expect(interfaces.list()).toContainEqual({ name: "tap0", state: "fabric", ifindex: 5 });
    interfaces.handle([linkEvent(tap0)]);
    expect(takeWrites()).toEqual([]);
    interfaces.setFabric(new Set());
    expect(takeWrites()).toEqual(["set vif 5 169.254.64.2", "attach vif 5"]);
  });

  it("attaches nothing whose address could not be saved, and tries again", () => {
    const { interfaces, takeWrites, fake, disk } = setUp();
    disk.full = true;
    interfaces.reset([tap0]);
    interfaces.handle([linkEvent(tap1)]);
    expect(takeWrites()).toEqual([]);
    const reason = "cannot save its metadata address: no space left on device";
    expect(interfaces.list()).toMatchObject([
      { name: "tap0", state: "failed", reason },
      { name: "tap1", state: "failed", reason },
      { name: "veth-web", state: "waiting" },
    ]);
    disk.full = false;
    interfaces.retry();
    expect(takeWrites()[0]).toBe("save");
    expect(fake.attached.map(({ ifindex }) => ifindex)).toEqual([5, 6]);
    interfaces.retry();
    expect(takeWrites()).toEqual([]);
  });

  it("says why an interface failed, leaves nothing of it, and tries again when it changes", () => {
    const { interfaces, takeWrites, broken, vifs } = setUp();
    broken.set(5, "no such device");
    interfaces.reset([tap0, tap1]);
    expect(interfaces.list()).toContainEqual({
      name: "tap0",
      state: "failed",
      ifindex: 5,
      reason: "no such device",
    });
    expect([...vifs.keys()]).toEqual([6]);
    takeWrites();
    broken.clear();
    interfaces.handle([linkEvent(tap0)]);
    expect(takeWrites()).toEqual(["set vif 5 169.254.64.2", "attach vif 5"]);
  });

  it("gives a name that has an address its own before a new name takes one from those that are gone", () => {
    const saved = Array.from({ length: 13 }, (_, i) => ({ name: `tap${i}`, address: `169.254.64.${i + 2}` }));
    const { interfaces, vifs } = setUp(saved);
    interfaces.reset([
      fakeLink(20, "tapnew"),
      ...saved.slice(0, 12).map(({ name }, i) => fakeLink(30 + i, name)),
    ]);
    expect(vifs.get(20)).toEqual(plainVif("169.254.64.14"));
    expect(vifs.get(30)).toEqual(plainVif("169.254.64.2"));
    interfaces.handle([linkEvent(fakeLink(21, "tapmore"))]);
    expect(interfaces.list()).toContainEqual({
      name: "tapmore",
      state: "failed",
      ifindex: 21,
      reason: "no metadata address is left; make agent.metadataAddresses larger",
    });
  });

  it("finds out from the complete list which names are gone, and may give their addresses away", () => {
    const { interfaces, vifs } = setUp();
    interfaces.reset(Array.from({ length: 13 }, (_, i) => fakeLink(30 + i, `tap${i}`)));
    interfaces.reset([fakeLink(20, "tapnew")]);
    expect([...vifs]).toEqual([[20, plainVif("169.254.64.2")]]);
  });

  it("tells who is behind a metadata address, and nobody once the vif is gone", () => {
    const config = configOf(`
services: [{ name: web, address: 169.254.169.254, port: 80, backends: ["127.0.0.1:80"] }]
interfaces:
  - name: veth-web
    instanceId: 6f3a0a3e-3b1c-4f0e-9a53-1f3a6a1d2c11
    addresses: [10.0.1.3]
    antiSpoof: false
  - { name: "tap*", gateway: { address: 10.0.1.1, answerArp: false } }
`);
    const { interfaces } = setUp([], config);
    interfaces.reset([tap0, fakeLink(7, "veth-web")]);
    expect(interfaces.guestOf("169.254.64.2")).toEqual({
      interface: "tap0",
      ifindex: 5,
      metadataAddress: "169.254.64.2",
      addresses: [],
      gateway: { address: "10.0.1.1", answerArp: false },
    });
    expect(interfaces.guestOf("169.254.64.3")).toEqual({
      interface: "veth-web",
      ifindex: 7,
      metadataAddress: "169.254.64.3",
      instanceId: "6f3a0a3e-3b1c-4f0e-9a53-1f3a6a1d2c11",
      addresses: ["10.0.1.3"],
    });
    expect(interfaces.guestOf("169.254.64.4")).toBeUndefined();
    // The metadata service keeps what it makes of a guest with this object.
    const before = interfaces.guestOf("169.254.64.3");
    expect(interfaces.guestOf("169.254.64.3")).toBe(before);
    interfaces.configure({ ...config, interfaces: [{ name: "veth-web" }] });
    expect(interfaces.guestOf("169.254.64.3")).toMatchObject({ interface: "veth-web", addresses: [] });
    expect(interfaces.guestOf("169.254.64.3")).not.toHaveProperty("instanceId");
    interfaces.configure(config);
    interfaces.handle([gone(tap0)]);
    expect(interfaces.guestOf("169.254.64.2")).toBeUndefined();
  });
});

describe("registrations", () => {
  const registered = (changes: Partial<InterfaceRule> = {}, disabled = false): Registration => ({
    rule: { name: "eth9", ...changes },
    disabled,
  });
  const eth9 = fakeLink(9, "eth9");

  it("make an interface a vif that fits no pattern, change it in place, and take it away again", () => {
    const { interfaces, registrations, takeWrites, vifs } = setUp();
    interfaces.reset([eth9]);
    expect(interfaces.stateOf("eth9")).toBeUndefined();
    registrations.set("eth9", registered());
    interfaces.registrationChanged("eth9");
    expect(takeWrites()).toEqual(["save", "set vif 9 169.254.64.2", "attach vif 9"]);
    expect(interfaces.list()).toEqual([
      { name: "eth9", state: "attached", ifindex: 9, metadataAddress: "169.254.64.2" },
      { name: "veth-web", state: "waiting" },
    ]);

    interfaces.registrationChanged("eth9");
    expect(takeWrites()).toEqual([]);
    registrations.set("eth9", registered({ addresses: ["10.0.1.3"], unknownPort: "drop" }));
    interfaces.registrationChanged("eth9");
    expect(takeWrites()).toEqual(["set vif 9 169.254.64.2"]);
    expect(vifs.get(9)).toEqual(plainVif("169.254.64.2", { addresses: ["10.0.1.3"], unknownPort: "drop" }));

    registrations.delete("eth9");
    interfaces.registrationChanged("eth9");
    expect(takeWrites()).toEqual(["detach vif 9", "remove vif 9"]);
    expect(interfaces.stateOf("eth9")).toBeUndefined();
  });

  it("wait for their interfaces, and count before patterns", () => {
    const { interfaces, registrations, vifs } = setUp();
    interfaces.reset([]);
    registrations.set("tap0", { rule: { name: "tap0", addresses: ["10.0.1.3"] }, disabled: false });
    interfaces.registrationChanged("tap0");
    expect(interfaces.stateOf("tap0")).toEqual({ name: "tap0", state: "waiting" });
    interfaces.handle([linkEvent(tap0)]);
    expect(vifs.get(5)).toMatchObject({ addresses: ["10.0.1.3"] });
  });

  it("say nothing of a name that the configuration has", () => {
    const { interfaces, registrations, vifs } = setUp();
    registrations.set("veth-web", { rule: { name: "veth-web", addresses: ["10.0.1.3"] }, disabled: true });
    interfaces.reset([fakeLink(7, "veth-web")]);
    expect(vifs.get(7)).toEqual(plainVif("169.254.64.2"));
  });

  it("keep an interface from being a vif while they are disabled, whatever pattern it fits", () => {
    const { interfaces, registrations, takeWrites } = setUp();
    interfaces.reset([tap0]);
    takeWrites();
    registrations.set("tap0", { rule: { name: "tap0" }, disabled: true });
    interfaces.registrationChanged("tap0");
    expect(takeWrites()).toEqual(["detach vif 5", "remove vif 5"]);
    expect(interfaces.stateOf("tap0")).toEqual({ name: "tap0", state: "disabled", ifindex: 5 });
    interfaces.handle([linkEvent(tap0)]);
    expect(takeWrites()).toEqual([]);
    registrations.set("tap0", { rule: { name: "tap0" }, disabled: false });
    interfaces.registrationChanged("tap0");
    expect(takeWrites()).toEqual(["set vif 5 169.254.64.2", "attach vif 5"]);
  });
});

describe("events", () => {
  const names = ["tap0", "tap1", "tap2", "veth-web", "eth0"];
  const ifindexes = [2, 3, 4, 5, 6];
  const ifindex = fc.constantFrom(...ifindexes);
  const name = fc.constantFrom(...names);
  const step = fc.oneof(
    fc.record({ kind: fc.constant("make"), ifindex, name, hardware: fc.constantFrom(1, 1, 1, 65534) }),
    fc.record({ kind: fc.constant("rename"), ifindex, name }),
    fc.record({ kind: fc.constant("delete"), ifindex }),
    fc.record({ kind: fc.constant("deliver"), count: fc.integer({ min: 1, max: 4 }) }),
    fc.record({ kind: fc.constant("deliver"), count: fc.integer({ min: 1, max: 4 }) }),
    fc.record({ kind: fc.constant("fabric"), ifindexes: fc.subarray(ifindexes) }),
    fc.record({ kind: fc.constant("register"), name, disabled: fc.boolean() }),
    fc.record({ kind: fc.constant("unregister"), name }),
    fc.record({ kind: fc.constant("reset") }),
    fc.record({ kind: fc.constant("retry") }),
  );

  /** A kernel whose changes are told when somebody asks for them, and maybe long after. */
  function lateKernel({ fake, kernel, broken }: ReturnType<typeof setUp>) {
    const queue: NetworkEvent[] = [];
    const isTaken = (name: string) => [...kernel.values()].some((link) => link.name === name);
    function tell(link: Link): void {
      kernel.set(link.ifindex, link);
      queue.push(linkEvent(link));
    }
    for (const index of ifindexes) broken.set(index, "no such device");
    return {
      queue,
      make(index: number, name: string, hardware: number) {
        if (kernel.has(index) || isTaken(name)) return;
        broken.delete(index);
        tell(fakeLink(index, name, { hardware }));
      },
      rename(index: number, name: string) {
        const link = kernel.get(index);
        if (link !== undefined && !isTaken(name)) tell({ ...link, name });
      },
      delete(index: number) {
        const link = kernel.get(index);
        if (link === undefined) return;
        kernel.delete(index);
        broken.set(index, "no such device");
        // Programs go with the device.
        fake.attached = fake.attached.filter((one) => one.ifindex !== index);
        queue.push(gone(link));
      },
    };
  }

  it("older than what the kernel says are no news; who has lost its name is no vif by that name", () => {
    const { told: interfaces, kernel, takeWrites } = setUp();
    kernel.set(5, tap0);
    interfaces.reset([tap0]);
    takeWrites();
    // Made under another name, and both renamed since.
    const before = fakeLink(8, "eth8");
    kernel.set(5, { ...tap0, name: "eth5" });
    kernel.set(8, fakeLink(8, "tap0"));
    interfaces.handle([linkEvent(before)]);
    expect(takeWrites()).toEqual(["detach vif 5", "remove vif 5", "set vif 8 169.254.64.2", "attach vif 8"]);
    interfaces.handle([linkEvent({ ...tap0, name: "eth5" }), linkEvent(kernel.get(8)!), linkEvent(tap0)]);
    expect(takeWrites()).toEqual([]);
  });

  it("lead to the vifs that there should be, however late and in whatever batches they are told", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const all = setUp();
        const { told: interfaces, fake, kernel, registrations, vifs, takeWrites } = all;
        const late = lateKernel(all);
        let fabric = new Set<number>();
        /** Vifs of interfaces that nothing has happened to since the agent read the list of all. */
        const untouched = new Set<number>();
        interfaces.reset([]);
        for (const step of steps) {
          if (step.kind !== "deliver" && step.kind !== "retry" && step.kind !== "reset") untouched.clear();
          if (step.kind === "make") late.make(step.ifindex, step.name, step.hardware);
          else if (step.kind === "rename") late.rename(step.ifindex, step.name);
          else if (step.kind === "delete") late.delete(step.ifindex);
          else if (step.kind === "deliver") interfaces.handle(late.queue.splice(0, step.count));
          else if (step.kind === "retry") interfaces.retry();
          else if (step.kind === "reset") interfaces.reset([...kernel.values()]);
          else if (step.kind === "fabric") {
            fabric = new Set(step.ifindexes);
            interfaces.setFabric(fabric);
          } else {
            if (step.kind === "unregister") registrations.delete(step.name);
            else registrations.set(step.name, { rule: { name: step.name }, disabled: step.disabled });
            interfaces.registrationChanged(step.name);
          }
          const inUse = [...vifs.values()].map(({ metadataAddress }) => metadataAddress);
          expect(new Set(inUse).size).toBe(inUse.length);
          const writes = takeWrites();
          for (const ifindex of untouched) expect(writes).not.toContain(`remove vif ${ifindex}`);
          if (step.kind === "reset") {
            for (const ifindex of vifs.keys()) untouched.add(ifindex);
            for (const event of late.queue) if (event.kind === "link-gone") untouched.delete(event.ifindex);
          }
          if (step.kind !== "deliver") continue;
          for (const ifindex of ifindexes) {
            if (!kernel.has(ifindex)) expect(writes.join()).not.toContain(`set vif ${ifindex}`);
          }
        }
        interfaces.handle(late.queue.splice(0));

        const wanted = [...kernel.values()].filter(({ name, hardware, ifindex }) => {
          const registration = name === "veth-web" ? undefined : registrations.get(name);
          const isNamed = name !== "eth0" || registration !== undefined;
          return isNamed && registration?.disabled !== true && hardware === 1 && !fabric.has(ifindex);
        });
        const indexes = wanted.map(({ ifindex }) => ifindex).sort();
        expect([...vifs.keys()].sort()).toEqual(indexes);
        expect(fake.attached.map(({ ifindex }) => ifindex).sort()).toEqual(indexes);
        for (const { ifindex, name } of wanted) {
          const { metadataAddress } = vifs.get(ifindex)!;
          expect(interfaces.guestOf(metadataAddress)).toMatchObject({ interface: name, ifindex });
          expect(all.addresses.assign(name)).toBe(metadataAddress);
        }
        const attached = interfaces.list().filter(({ state }) => state === "attached");
        expect(attached.map(({ name }) => name).sort()).toEqual(wanted.map(({ name }) => name).sort());
      }),
      { numRuns: 500 },
    );
  });
});
