import { execFile, execFileSync } from "node:child_process";
import { closeSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { SystemError } from "./libc.ts";
import { inNetworkNamespace, makeNetworkNamespace } from "./namespace.ts";
import { type NetworkEvent, openRtnetlink, type Rtnetlink, watchNetwork } from "./rtnetlink.ts";

/** A filter that matches nothing: one instruction of classic BPF, `ret 0`. */
const CLASSIC_FILTER = ["bpf", "bytecode", "1,6 0 0 0,", "flowid", "1:1"];

let namespace: number;
let network: Rtnetlink;

const ip = (...args: string[]) =>
  inNetworkNamespace(namespace, () => execFileSync("ip", args, { encoding: "utf8", stdio: "pipe" }));
const tc = (...args: string[]) =>
  inNetworkNamespace(namespace, () => execFileSync("tc", args, { encoding: "utf8", stdio: "pipe" }));
const ipJson = (...args: string[]) => JSON.parse(ip("-j", "-d", ...args));
/** Many commands of `ip` at once. */
const ipBatch = (commands: string[]) =>
  inNetworkNamespace(namespace, () => execFileSync("ip", ["-batch", "-"], { input: commands.join("\n") }));

function caught(action: () => void): SystemError {
  try {
    action();
  } catch (error) {
    expect(error).toBeInstanceOf(SystemError);
    return error as SystemError;
  }
  throw new Error("nothing was thrown");
}

beforeEach(() => {
  namespace = makeNetworkNamespace();
  network = inNetworkNamespace(namespace, openRtnetlink);
});
afterEach(() => {
  network.close();
  closeSync(namespace);
});

describe("links", () => {
  it("are those that ip shows", () => {
    ip("link", "add", "br0", "type", "bridge");
    ip("link", "add", "left", "mtu", "1400", "type", "veth", "peer", "name", "right");
    ip("link", "set", "left", "master", "br0", "up");
    ip("link", "add", "link", "right", "name", "right.7", "type", "macvlan");
    ip("tuntap", "add", "tap0", "mode", "tap");
    ip("tuntap", "add", "tun0", "mode", "tun");
    // biome-ignore lint/suspicious/noExplicitAny: what ip prints
    const shown: any[] = ipJson("link");
    const index = (name: string | undefined) => shown.find((link) => link.ifname === name)?.ifindex;
    const hardware: Record<string, number> = { loopback: 772, ether: 1, none: 65534 };
    expect(shown.length).toBe(7);
    expect(network.links()).toEqual(
      shown.map((link) => ({
        ifindex: link.ifindex,
        name: link.ifname,
        up: link.flags.includes("UP"),
        mac: link.address,
        mtu: link.mtu,
        type: link.linkinfo?.info_kind,
        hardware: hardware[link.link_type],
        master: index(link.master),
        peer: index(link.link),
      })),
    );
    for (const link of network.links()) {
      expect(network.link(link.name)).toEqual(link);
      expect(network.link(link.ifindex)).toEqual(link);
    }
  });

  it("that are not there are undefined", () => {
    expect(network.link("nothere")).toBeUndefined();
    expect(network.link("a-name-longer-than-any")).toBeUndefined();
    expect(network.link(9999)).toBeUndefined();
  });

  it("have no peer when it is in another namespace", () => {
    const other = makeNetworkNamespace();
    try {
      ip("link", "add", "left", "type", "veth", "peer", "name", "right");
      ip("link", "set", "right", "netns", `/proc/${process.pid}/fd/${other}`);
      expect(network.link("left")).toMatchObject({ type: "veth", peer: undefined });
    } finally {
      closeSync(other);
    }
  });

  it("are all listed when there are more than one read holds", () => {
    ipBatch(Array.from({ length: 300 }, (_, i) => `link add v${i} type veth peer name w${i}`));
    expect(network.links().length).toBe(601);
  });
});

describe("a veth pair", () => {
  it("is made without ARP, set up and deleted", () => {
    network.createVethPair({ name: "onlink0", peer: "onlink0-peer", mtu: 9000 });
    const end = network.link("onlink0")!;
    const peer = network.link("onlink0-peer")!;
    expect(end).toMatchObject({ type: "veth", up: false, mtu: 9000, peer: peer.ifindex });
    expect(peer).toMatchObject({ type: "veth", up: false, mtu: 9000, peer: end.ifindex });
    expect(end.mac).not.toBe(peer.mac);
    network.setLinkUp(end.ifindex);
    network.setLinkUp(peer.ifindex);
    for (const link of ipJson("link", "show", "type", "veth")) {
      expect(link.flags).toEqual(expect.arrayContaining(["NOARP", "UP", "LOWER_UP"]));
    }
    network.deleteLink(end.ifindex);
    network.deleteLink(end.ifindex);
    expect(network.link("onlink0-peer")).toBeUndefined();
  });

  it("that cannot be made says so in the kernel's words", () => {
    network.createVethPair({ name: "onlink0", peer: "onlink0-peer", mtu: 9000 });
    expect(caught(() => network.createVethPair({ name: "onlink0", peer: "x", mtu: 9000 }))).toMatchObject({
      syscall: "RTM_NEWLINK",
      code: "EEXIST",
      message: "cannot make the veth pair onlink0 and x (RTM_NEWLINK: EEXIST)",
    });
    expect(
      caught(() => network.createVethPair({ name: "a-name-of-sixteen", peer: "x", mtu: 9000 })).message,
    ).toBe(
      "cannot make the veth pair a-name-of-sixteen and x: Attribute failed policy validation (RTM_NEWLINK: ERANGE)",
    );
  });
});

describe("addresses", () => {
  it("are added once and listed", () => {
    network.createVethPair({ name: "onlink0", peer: "onlink0-peer", mtu: 1500 });
    const { ifindex } = network.link("onlink0")!;
    const wanted = { ifindex, address: "169.254.64.1", prefixLength: 18, scope: "link" } as const;
    network.addAddress(wanted);
    network.addAddress(wanted);
    ip("addr", "add", "127.0.0.1/8", "dev", "lo");
    expect(network.addresses(ifindex)).toEqual([{ ...wanted, scope: 253 }]);
    expect(network.addresses()).toHaveLength(2);
    expect(ipJson("addr", "show", "onlink0")[0].addr_info).toMatchObject([
      { local: "169.254.64.1", prefixlen: 18, scope: "link" },
    ]);
    expect(caught(() => network.addAddress({ ...wanted, ifindex: 9999 })).code).toBe("ENODEV");
  });
});

describe("routeTo", () => {
  beforeEach(() => {
    ip("link", "set", "lo", "up");
    ip("link", "add", "eth0", "type", "veth", "peer", "name", "wire");
    ip("link", "set", "eth0", "up");
    ip("link", "set", "wire", "up");
    ip("addr", "add", "10.0.0.9/24", "dev", "eth0");
    ip("route", "add", "10.1.0.0/16", "via", "10.0.0.1");
    ip("route", "add", "unreachable", "10.2.0.0/16");
    ip("route", "add", "blackhole", "10.3.0.0/16");
    ip("route", "add", "prohibit", "10.4.0.0/16");
    ip("route", "add", "throw", "10.5.0.0/16");
  });

  it.each([
    ["10.0.0.20", "unicast", "eth0"],
    ["10.1.2.3", "unicast", "eth0"],
    ["10.0.0.9", "local", "lo"],
    ["127.0.0.1", "local", "lo"],
    ["10.0.0.255", "broadcast", "eth0"],
  ])("says of %s what ip route get says", (destination, type, device) => {
    const [shown] = ipJson("route", "get", destination);
    expect(shown.dev).toBe(device);
    expect(network.routeTo(destination)).toEqual({
      type,
      ifindex: network.link(device)!.ifindex,
      source: shown.prefsrc,
      gateway: shown.gateway,
    });
  });

  it.each(["192.0.2.1", "10.2.0.1", "10.3.0.1", "10.4.0.1", "10.5.0.1"])("has none to %s", (destination) => {
    expect(() => ip("route", "get", destination)).toThrow();
    expect(network.routeTo(destination)).toBeUndefined();
  });

  it("says the same of many at once", () => {
    const some = ["10.0.0.20", "10.2.0.1", "10.1.2.3", "192.0.2.1", "127.0.0.1", "10.5.0.1", "10.0.0.20"];
    const many = [...some, ...Array.from({ length: 300 }, (_, index) => `10.${index % 6}.7.${index % 250}`)];
    expect(network.routesTo(many)).toEqual(
      new Map(many.map((destination) => [destination, network.routeTo(destination)])),
    );
    expect(network.routesTo([])).toEqual(new Map());
  });
});

describe("hasFilters", () => {
  it("sees filters on either side of the clsact qdisc, and none where there is no qdisc or no interface", () => {
    ip("link", "add", "eth0", "type", "veth", "peer", "name", "wire");
    const { ifindex } = network.link("eth0")!;
    expect(network.hasFilters(ifindex)).toBe(false);
    tc("qdisc", "add", "dev", "eth0", "clsact");
    expect(network.hasFilters(ifindex)).toBe(false);
    for (const side of ["ingress", "egress"]) {
      tc("filter", "add", "dev", "eth0", side, ...CLASSIC_FILTER);
      expect(network.hasFilters(ifindex), side).toBe(true);
      tc("filter", "del", "dev", "eth0", side);
      expect(network.hasFilters(ifindex), side).toBe(false);
    }
    expect(network.hasFilters(ifindex + 1000)).toBe(false);
  });
});

describe("watchNetwork", () => {
  let batches: NetworkEvent[][];
  let onBatch: () => void;
  let watch: ReturnType<typeof watchNetwork>;

  /** Waits until the events so far hold what is looked for. */
  async function until(done: (events: NetworkEvent[]) => boolean): Promise<NetworkEvent[]> {
    while (!done(batches.flat())) {
      await new Promise<void>((resolve) => {
        onBatch = resolve;
      });
    }
    return batches.flat();
  }

  beforeEach(() => {
    batches = [];
    onBatch = () => {};
    watch = inNetworkNamespace(namespace, () =>
      watchNetwork(
        (events) => {
          batches.push(events);
          onBatch();
        },
        (error) => {
          throw error;
        },
      ),
    );
  });
  afterEach(() => watch.close());

  it("tells of links that come, change and go", async () => {
    network.createVethPair({ name: "onlink0", peer: "onlink0-peer", mtu: 1500 });
    const link = network.link("onlink0")!;
    await until((events) => events.some((event) => event.kind === "link" && event.link.peer === link.peer));
    expect(batches.flat()).toContainEqual({ kind: "link", link });
    network.setLinkUp(link.ifindex);
    await until((events) => events.some((event) => event.kind === "link" && event.link.up));
    network.deleteLink(link.ifindex);
    const events = await until((events) => events.filter((event) => event.kind === "link-gone").length === 2);
    expect(events).toContainEqual({ kind: "link-gone", ifindex: link.ifindex, name: "onlink0" });
  });

  it("tells of a link that moves to another namespace as gone", async () => {
    const other = makeNetworkNamespace();
    try {
      ip("link", "add", "left", "type", "veth", "peer", "name", "right");
      ip("link", "set", "right", "netns", `/proc/${process.pid}/fd/${other}`);
      const events = await until((events) => events.some((event) => event.kind === "link-gone"));
      expect(events.find((event) => event.kind === "link-gone")).toMatchObject({ name: "right" });
    } finally {
      closeSync(other);
    }
  });

  it("does not take a link that leaves its bridge for one that is gone", async () => {
    ip("link", "add", "br0", "type", "bridge");
    ip("link", "add", "left", "type", "veth", "peer", "name", "right");
    ip("link", "set", "left", "master", "br0");
    const bridge = network.link("br0")!.ifindex;
    await until((events) => events.some((event) => event.kind === "link" && event.link.master === bridge));
    batches = [];
    ip("link", "set", "left", "nomaster");
    // The last of what comes of it: events are in order, so nothing follows that belongs to the bridge.
    ip("link", "add", "mark", "type", "bridge");
    const events = await until((events) =>
      events.some((event) => event.kind === "link" && event.link.name === "mark"),
    );
    expect(events.filter((event) => event.kind === "link-gone")).toEqual([]);
    expect(
      events.some(
        (event) => event.kind === "link" && event.link.name === "left" && event.link.master === undefined,
      ),
    ).toBe(true);
  });

  it.each([
    ["route", ["route", "add", "192.0.2.0/24", "dev", "lo"]],
    ["address", ["addr", "add", "192.0.2.1/24", "dev", "lo"]],
    ["rule", ["rule", "add", "to", "192.0.2.0/24", "lookup", "7"]],
  ])("tells of a new %s", async (_, command) => {
    ip("link", "set", "lo", "up");
    await until((events) => events.some((event) => event.kind === "link" && event.link.up));
    // What the loopback's own address and routes bring is before this link.
    ip("link", "add", "mark", "type", "bridge");
    await until((events) => events.some((event) => event.kind === "link" && event.link.name === "mark"));
    batches = [];
    ip(...command);
    await until((events) => events.some((event) => event.kind === "routes-changed"));
  });

  it("loses none of a thousand links that come while the process is busy", async () => {
    ipBatch(Array.from({ length: 500 }, (_, i) => `link add v${i} type veth peer name w${i}`));
    const names = new Set<string>();
    await until((events) => {
      for (const event of events) {
        if (event.kind === "link") {
          names.add(event.link.name);
        }
      }
      return names.size === 1000;
    });
    expect(batches.flat().some((event) => event.kind === "overrun")).toBe(false);
  });

  it("says so when too much came to keep, and goes on", async () => {
    ip("link", "set", "lo", "up");
    const routes = Array.from(
      { length: 100_000 },
      (_, i) => `route add 10.${i >> 16}.${(i >> 8) & 255}.${i & 255} dev lo`,
    );
    ipBatch(routes);
    await until((events) => events.some((event) => event.kind === "overrun"));
    expect(batches.find((batch) => batch.some((event) => event.kind === "overrun"))).toHaveLength(1);
    ip("link", "add", "after", "type", "bridge");
    await until((events) => events.some((event) => event.kind === "link" && event.link.name === "after"));
  });

  it("is silent after close", async () => {
    await watch.close();
    const before = batches.length;
    const second = inNetworkNamespace(namespace, () =>
      watchNetwork(
        () => onBatch(),
        () => {},
      ),
    );
    const told = new Promise<void>((resolve) => {
      onBatch = resolve;
    });
    ip("link", "add", "br0", "type", "bridge");
    await told;
    await second.close();
    expect(batches).toHaveLength(before);
  });
});

describe("a process that watches", () => {
  // Compiled, since Node.js 20 runs no TypeScript; under the project, where the packages are found.
  let folder: string;
  beforeAll(() => {
    mkdirSync(".cache", { recursive: true });
    folder = mkdtempSync(join(".cache", "watch-"));
    const options = ["-p", "tsconfig.build.json", "--noCheck", "--incremental", "false", "--outDir", folder];
    execFileSync("node_modules/.bin/tsc", options);
  });
  afterAll(() => {
    rmSync(folder, { recursive: true });
  });

  it.each([
    ["is closed", "await watch.close()"],
    ["process.exit", "process.exit(0)"],
    ["SIGTERM", "process.kill(process.pid, 'SIGTERM')"],
  ])("ends at once by: %s", async (how, end) => {
    const script = join(folder, "script.mjs");
    writeFileSync(
      script,
      `import { watchNetwork } from "./linux/rtnetlink.js";
      const watch = watchNetwork(() => {}, () => {});
      setTimeout(async () => { ${end}; }, 200);`,
    );
    const run = promisify(execFile)(process.execPath, [script], { timeout: 5000, killSignal: "SIGKILL" });
    if (how === "SIGTERM") {
      await expect(run).rejects.toMatchObject({ signal: "SIGTERM" });
    } else {
      await run;
    }
  });
});
