import { execFileSync } from "node:child_process";
import { closeSync } from "node:fs";
import { afterEach, beforeEach, expect, it } from "vitest";
import { inNetworkNamespace, makeNetworkNamespace } from "./namespace.ts";
import { readSysctl, writeSysctl } from "./sysctl.ts";

let namespace: number;
beforeEach(() => {
  namespace = makeNetworkNamespace();
});
afterEach(() => {
  closeSync(namespace);
});

it("reads and writes the settings of one interface, dots in its name included", () => {
  inNetworkNamespace(namespace, () => {
    execFileSync("ip", ["link", "add", "on.link0", "type", "veth"]);
    const setting = ["net", "ipv4", "conf", "on.link0", "route_localnet"];
    expect(readSysctl(setting)).toBe("0");
    writeSysctl(setting, "1");
    expect(readSysctl(setting)).toBe("1");
    expect(
      execFileSync("sysctl", ["-n", "net/ipv4/conf/on.link0/route_localnet"], { encoding: "utf8" }),
    ).toBe("1\n");
  });
});

it("says which setting is not there", () => {
  inNetworkNamespace(namespace, () => {
    const setting = ["net", "ipv4", "conf", "gone0", "route_localnet"];
    expect(readSysctl(setting)).toBeUndefined();
    expect(() => writeSysctl(setting, "1")).toThrow(
      /^cannot set the kernel setting net\/ipv4\/conf\/gone0\/route_localnet to 1: ENOENT/,
    );
  });
});

it("says which value is refused", () => {
  inNetworkNamespace(namespace, () => {
    expect(() => writeSysctl(["net", "ipv4", "ip_forward"], "perhaps")).toThrow(
      /^cannot set the kernel setting net\/ipv4\/ip_forward to perhaps: EINVAL/,
    );
  });
});
