import { describe, expect, it } from "vitest";
import { parseConfig } from "../config/load.ts";
import type { Capability } from "../linux/capabilities.ts";
import type { InterfaceAddress, Link, Rtnetlink } from "../linux/rtnetlink.ts";
import { fakeLink, fakeNetwork } from "./fakes.ts";
import { checkAddresses, checkCapabilities, checkDevice } from "./host-checks.ts";

const parsed = parseConfig(
  `
services: [{ name: web, address: 169.254.169.254, port: 80, backends: ["127.0.0.1:80"] }]
interfaces: [{ name: "tap*" }]`,
  "test.yaml",
);
if (!parsed.ok) throw new Error(parsed.errors[0]?.message);
const { config } = parsed;

function network(links: Link[], addresses: Array<Partial<InterfaceAddress>> = []): Rtnetlink {
  return { ...fakeNetwork(links, {}), addresses: () => addresses } as unknown as Rtnetlink;
}
const pair = [fakeLink(4, "onlink0", { peer: 5 }), fakeLink(5, "onlink0p", { peer: 4 })];

describe("host checks", () => {
  it("name the capabilities that are missing", () => {
    const check = (...effective: Capability[]) => checkCapabilities("/pins", new Set(effective));
    expect(check("CAP_NET_ADMIN", "CAP_SYS_ADMIN").ok).toBe(true);
    expect(check("CAP_BPF", "CAP_NET_ADMIN", "CAP_PERFMON")).toEqual({
      name: "capabilities",
      ok: false,
      detail: "missing: CAP_SYS_ADMIN",
      mend: "run onlink as root, or mount a bpffs on /pins beforehand",
    });
    expect(checkCapabilities(undefined, new Set(["CAP_BPF", "CAP_NET_ADMIN", "CAP_PERFMON"])).ok).toBe(true);
    expect(check("CAP_SYS_ADMIN")).toMatchObject({
      detail: "missing: CAP_NET_ADMIN",
      mend: "run onlink as root",
    });
  });

  it.each<[string, Link[], boolean]>([
    ["onlink0 is free", [], true],
    ["onlink0 is onlink's own", pair, true],
    ["the interface onlink0 is there already", [fakeLink(4, "onlink0", { type: "bridge" })], false],
    ["the interface onlink0 is there already", [pair[0]!, fakeLink(5, "onlink0p", { peer: 9 })], false],
    ["the interface onlink0p is there already", [pair[1]!], false],
  ])("say of the device: %s", (detail, links, ok) => {
    const result = checkDevice(network(links), config);
    expect(result.ok).toBe(ok);
    expect(result.detail).toContain(detail);
  });

  it("find addresses that the host would keep to itself", () => {
    const links = [...pair, fakeLink(1, "lo")];
    const result = (ifindex: number, address: string) =>
      checkAddresses(network(links, [{ ifindex, address, prefixLength: 32 }]), config);
    expect(result(4, "169.254.64.1").ok).toBe(true);
    expect(result(1, "127.0.0.1").ok).toBe(true);
    expect(result(1, "169.254.169.254")).toMatchObject({
      ok: false,
      detail: "169.254.169.254, a service address, is on lo",
    });
    expect(result(1, "169.254.127.255")).toMatchObject({
      ok: false,
      detail: "169.254.127.255, one of 169.254.64.0/18, is on lo",
    });
  });
});
