import { execFileSync } from "node:child_process";
import { closeSync } from "node:fs";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { inNetworkNamespace, makeNetworkNamespace } from "../linux/namespace.ts";
import { openRtnetlink, type Rtnetlink } from "../linux/rtnetlink.ts";
import { readSysctl } from "../linux/sysctl.ts";
import { deleteHostDevice, devicesOf, ensureHostDevice, findHostDevice } from "./host-device.ts";

const options = { name: "ol0", runtimeDir: "/run/ol", address: "169.254.64.1", prefixLength: 18 };
let namespace: number;
let network: Rtnetlink;

beforeEach(() => {
  namespace = makeNetworkNamespace();
  network = inside(openRtnetlink);
});
afterEach(() => {
  network.close();
  closeSync(namespace);
});

function inside<T>(action: () => T): T {
  return inNetworkNamespace(namespace, action);
}

function ip(...args: string[]): void {
  inside(() => execFileSync("ip", args, { stdio: "pipe" }));
}

describe("host device", () => {
  it("is a veth pair, up, with the host's address and its settings on it alone", () => {
    const { device, peer } = inside(() => ensureHostDevice(network, options));
    expect(network.link("ol0")).toMatchObject({ ifindex: device.ifindex, up: true, mtu: 1500, type: "veth" });
    expect(network.link("ol0p")).toMatchObject({ ifindex: peer.ifindex, up: true, mtu: 1500 });
    expect(network.addresses()).toEqual([
      { ifindex: device.ifindex, address: "169.254.64.1", prefixLength: 18, scope: 253 },
    ]);
    const setting = (family: string, dev: string, name: string) =>
      inside(() => readSysctl(["net", family, "conf", dev, name]));
    expect(setting("ipv4", "ol0", "route_localnet")).toBe("1");
    for (const other of ["ol0p", "lo", "all", "default"]) {
      expect(setting("ipv4", other, "route_localnet"), other).toBe("0");
    }
    expect(["1", undefined]).toContain(setting("ipv6", "ol0", "disable_ipv6"));
    expect(["1", undefined]).toContain(setting("ipv6", "ol0p", "disable_ipv6"));
  });

  it("is adopted by a second start, also where the first was cut short", () => {
    ip("link", "add", "ol0", "type", "veth", "peer", "name", "ol0p");
    const index = network.link("ol0")?.ifindex;
    const first = inside(() => ensureHostDevice(network, options));
    const second = inside(() => ensureHostDevice(network, options));
    expect(first.device.ifindex).toBe(index);
    expect(second).toMatchObject({ device: { ifindex: index, mac: first.device.mac } });
    expect(network.addresses().length).toBe(1);
  });

  it("is made anew for another pool", () => {
    inside(() => ensureHostDevice(network, options));
    inside(() => ensureHostDevice(network, { ...options, address: "169.254.32.1", prefixLength: 20 }));
    expect(network.addresses().map(({ address }) => address)).toEqual(["169.254.32.1"]);
  });

  it("is never somebody else's interface", () => {
    ip("link", "add", "ol0", "type", "bridge");
    expect(() => inside(() => ensureHostDevice(network, options))).toThrow(
      "the interface ol0 is there already and is not onlink's",
    );
    expect(inside(() => deleteHostDevice(network, "ol0", "/run/ol"))).toBe(false);
    expect(network.link("ol0")).toBeDefined();
    expect(network.link("ol0p")).toBeUndefined();
  });

  it("belongs to one runtime directory, and is left alone by the agents of others", () => {
    const { device } = inside(() => ensureHostDevice(network, options));
    expect(devicesOf(network, "/run/ol")).toEqual(["ol0"]);
    expect(devicesOf(network, "/run/other")).toEqual([]);
    const others = { ...options, runtimeDir: "/run/other" };
    expect(() => inside(() => ensureHostDevice(network, others))).toThrow(
      "the interface ol0 belongs to the onlink agent of /run/ol; give this one another agent.device and agent.metadataAddresses, or remove that one: onlink down --runtime-dir /run/ol",
    );
    expect(deleteHostDevice(network, "ol0", "/run/other")).toBe(false);
    expect(network.link("ol0")?.ifindex).toBe(device.ifindex);
  });

  it("is deleted with both ends, once", () => {
    inside(() => ensureHostDevice(network, options));
    expect(deleteHostDevice(network, "ol0", "/run/ol")).toBe(true);
    expect(findHostDevice(network, "ol0", "/run/ol")).toBeUndefined();
    expect(deleteHostDevice(network, "ol0", "/run/ol")).toBe(false);
  });
});
