import { describe, expect, it } from "vitest";
import { parseConfig } from "../config/load.ts";
import type { Config } from "../config/schema.ts";
import { changesBetween, needsRestart, withUnchangedParts } from "./changes.ts";

function configOf(rest: string): Config {
  const result = parseConfig(
    `
services: [{ name: web, address: 169.254.169.254, port: 80, backends: ["127.0.0.1:80"] }]
interfaces: [{ name: "tap*" }]
${rest}`,
    "test.yaml",
  );
  if (!result.ok) throw new Error(result.errors[0]?.message);
  return result.config;
}

describe("needsRestart", () => {
  it("names every field that an agent keeps for its life", () => {
    const changed = `
agent: { device: other0, metadataAddresses: 169.254.64.0/20, stateDir: /s, runtimeDir: /r, attach: tcx }
fabric: { ports: [50000, 50999] }`;
    expect(needsRestart(configOf(""), configOf(changed))).toEqual([
      'agent.device: a change from "onlink0" to "other0" needs a restart of the agent',
      'agent.metadataAddresses: a change from "169.254.64.0/18" to "169.254.64.0/20" needs a restart of the agent',
      'agent.stateDir: a change from "/var/lib/onlink" to "/s" needs a restart of the agent',
      'agent.runtimeDir: a change from "/run/onlink" to "/r" needs a restart of the agent',
      'agent.attach: a change from "auto" to "tcx" needs a restart of the agent',
      'api.socket: a change from "/run/onlink/onlink.sock" to "/r/onlink.sock" needs a restart of the agent',
      "fabric.ports: a change from [61000,65535] to [50000,50999] needs a restart of the agent",
    ]);
  });

  it("names one that comes, and one that goes", () => {
    const listen = '{"address":"127.0.0.1","port":9091}';
    const given = configOf("api: { listen: 127.0.0.1:9091 }");
    expect(needsRestart(configOf(""), given)).toEqual([
      `api.listen: a change from none to ${listen} needs a restart of the agent`,
    ]);
    expect(needsRestart(given, configOf(""))).toEqual([
      `api.listen: a change from ${listen} to none needs a restart of the agent`,
    ]);
  });

  it("names a limit of flows for which there is no room, and no other", () => {
    const limit = (flows: number) => configOf(`limits: { flows: ${flows} }`);
    expect(needsRestart(configOf(""), limit(65_536))).toEqual([]);
    expect(needsRestart(configOf(""), limit(65_537))).toEqual([
      "limits.flows: a change from 16384 to 65537 needs a restart of the agent",
    ]);
    expect(needsRestart(limit(1_000_000), configOf(""))).toEqual([]);
  });

  it("lets everything else change", () => {
    const changed = `
defaults: { antiSpoof: false }
limits: { flows: 5 }
fabric: { interfaces: [eth0], sourceAddress: 192.0.2.1 }`;
    expect(needsRestart(configOf(""), configOf(changed))).toEqual([]);
  });
});

describe("changesBetween", () => {
  it("names what came, changed and went", () => {
    const before = configOf("");
    const [web] = before.services;
    const after: Config = {
      ...before,
      services: [
        { ...web!, name: "dns", port: 53 },
        { ...web!, port: 81 },
      ],
      interfaces: [{ name: "vif*" }],
      limits: { ...before.limits, flows: 5 },
    };
    expect(changesBetween(before, after)).toEqual({
      services: { added: ["dns"], changed: ["web"], removed: [] },
      interfaces: { added: ["vif*"], changed: [], removed: ["tap*"] },
      sections: ["limits"],
    });
    expect(changesBetween(before, structuredClone(before))).toBeUndefined();
  });
});

describe("withUnchangedParts", () => {
  const config = (backends: string, rest = "") => {
    const result = parseConfig(
      `
services:
  - { name: web, address: 169.254.169.254, port: 80, backends: ["127.0.0.1:80"] }
  - { name: dns, address: 169.254.169.253, port: 53, backends: ${backends} }
interfaces: [{ name: "tap*" }, { name: "vif*" }]
${rest}`,
      "test.yaml",
    );
    if (!result.ok) throw new Error(result.errors[0]?.message);
    return result.config;
  };
  const before = config('["10.0.0.1:53"]');

  it("means what the new configuration means", () => {
    const after = config('["10.0.0.2:53"]', "limits: { flows: 5 }");
    expect(withUnchangedParts(before, after)).toStrictEqual(after);
  });

  it("has what is unchanged as the same objects, and what is not from the new one", () => {
    const after = config('["10.0.0.2:53"]', "limits: { flows: 5 }");
    const now = withUnchangedParts(before, after);
    expect(now.services[0]).toBe(before.services[0]);
    expect(now.services[1]).toBe(after.services[1]);
    expect(now.interfaces).toBe(before.interfaces);
    expect(now.defaults).toBe(before.defaults);
    expect(now.limits).toBe(after.limits);
  });

  it("keeps the order of the new configuration", () => {
    const after = { ...before, services: before.services.toReversed() };
    expect(withUnchangedParts(before, after).services.map(({ name }) => name)).toEqual(["dns", "web"]);
    const fewer = { ...before, interfaces: before.interfaces.slice(1) };
    expect(withUnchangedParts(before, fewer).interfaces).toEqual([before.interfaces[1]]);
  });
});
