/** What `onlink check` says about the host's firewall, held against what the firewall does. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { judgeInput } from "../src/agent/firewall.ts";
import { type Guest, type Lab, openLab } from "../src/lab/lab.ts";
import { startHttpServer } from "../src/lab/servers.ts";
import { CONFIG_FILE, onlink, startAgent } from "./support/agent.ts";
import { output } from "./support/commands.ts";
import { WEB } from "./support/guest.ts";

let lab: Lab;
let guest: Guest;

beforeAll(async () => {
  lab = await openLab();
  guest = await lab.addGuest(WEB);
  await startHttpServer(lab.host, { address: "127.0.0.1", port: 8080 });
  await startAgent(lab, {
    services: [{ name: "web", address: "169.254.169.254", port: 80, backends: ["127.0.0.1:8080"] }],
    interfaces: [{ name: "vif-*" }],
  });
});
afterAll(() => lab?.close());

async function loadRules(input: string, more = ""): Promise<void> {
  const text = `flush ruleset
table inet filter {
  ${more}
  chain input { type filter hook input priority 0; policy drop;
    ${input}
  }
}`;
  await output(lab.host, ["nft", "-f", "-"], { input: text });
}

async function isReached(): Promise<boolean> {
  return (
    (await guest.run(["curl", "-sS", "-m", "1", "-o", "/dev/null", "http://169.254.169.254/"])).code === 0
  );
}

test.each([
  ["ct state vmap { established : accept, related : accept, invalid : drop }; iif lo accept", "drop"],
  ['ct state established,related accept; iifname "onlink*" accept', "accept"],
  ['iifname { "eth0", "vif-web" } accept', "drop"],
  ["ip saddr 169.254.64.0/18 tcp dport { 22, 8000-9000 } accept", "accept"],
  ["meta l4proto udp accept; tcp dport 80 accept", "drop"],
  ["jump sub; drop", "accept", 'chain sub { iifname != "onlink0" return; counter accept; }'],
  ["tcp dport @open accept", "perhaps", "set open { type inet_service; elements = { 8080 } }"],
])("%s: %s", async (input, fate, more = "") => {
  await loadRules(input, more);
  const ruleset = JSON.parse(await output(lab.host, ["nft", "-j", "list", "ruleset"]));
  const packet = {
    interface: "onlink0",
    protocol: "tcp",
    source: "169.254.64.1",
    destination: "127.0.0.1",
    port: 8080,
  } as const;
  expect(judgeInput(ruleset, packet).fate).toBe(fate);
  if (fate !== "perhaps") expect(await isReached()).toBe(fate === "accept");
});

test("onlink check gives the rule that is missing", async () => {
  await loadRules("iif lo accept");
  const failed = await onlink(lab, "check", "--json", "--config", CONFIG_FILE);
  expect(failed.code).toBe(1);
  const firewall = JSON.parse(failed.stdout).checks.find(({ name }: { name: string }) => name === "firewall");
  expect(firewall).toEqual({
    name: "firewall",
    ok: false,
    detail: "the chain inet filter input drops tcp from onlink0 to 127.0.0.1:8080",
    mend: 'nft insert rule inet filter input iifname "onlink0" accept',
  });
  await output(lab.host, ["/bin/sh", "-c", firewall.mend]);
  const { stdout } = await onlink(lab, "check", "--config", CONFIG_FILE);
  expect(stdout).toMatch(/^ok +firewall +lets guests in to backends on this host$/m);
  expect(await isReached()).toBe(true);
});
