/**
 * What a new connection costs where there are many services, and where there are many vifs, next to nftables with a rule for each. The one
 * that is asked is the last, which is what rules that are gone through one by one take the longest to find.
 */
import { writeFile } from "node:fs/promises";
import { expect, test } from "vitest";
import { type Guest, type Lab, openLab } from "../src/lab/lab.ts";
import type { LabProcess } from "../src/lab/process.ts";
import { startAgent, writeConfig } from "../test/support/agent.ts";
import { output, shell } from "../test/support/commands.ts";
import { WEB } from "../test/support/guest.ts";
import { NOTIFY, startServiceManager } from "../test/support/service-manager.ts";
import { buildLoad, failuresOf, figuresOf, loadRounds, SERVER_PROCESSOR } from "./load.ts";
import { record } from "./record.ts";
import { rounds } from "./rounds.ts";
import { AS_THE_UNIT } from "./unit.ts";

const ROUNDS = 5;
const SECONDS = 1;
/** More, since what takes a few tens of ms is soon disturbed. */
const APPLY_ROUNDS = 15;
/** In the lab. */
const RULES_FILE = "/run/services.nft";
const SERVICE = "169.254.169.254";
const BACKEND_PORT = 8080;
const COUNTS = [1, 100, 1000] as const;

/** What one host has many of. */
interface Many {
  services: number;
  vifs: number;
}

/** The ports of the services, on one service address; the last is the one that is asked. */
function ports(services: number): number[] {
  return Array.from({ length: services }, (_, index) => 10_000 + index);
}

async function openHost({ vifs }: Many): Promise<{ lab: Lab; guest: Guest }> {
  const lab = await openLab();
  // Not up: the kernel takes up no more than a hundred new links a second (net/core/link_watch.c), the guest's after all others.
  const others = Array.from(
    { length: vifs - 1 },
    (_, index) => `link add vif-${index} type veth peer name p${index}`,
  );
  await output(lab.host, ["ip", "-batch", "-"], { input: `${others.join("\n")}\n`, timeout: 120_000 });
  const guest = await lab.addGuest({ ...WEB, behaviour: "routed" });
  const server = await lab.host.start([
    ...SERVER_PROCESSOR,
    buildLoad(),
    "serve-tcp",
    "0.0.0.0",
    String(BACKEND_PORT),
  ]);
  await server.waitForLine(/^ready$/);
  return { lab, guest };
}

function onlinkConfig({ services, vifs }: Many): object {
  return {
    services: ports(services).map((port) => ({
      name: `service-${port}`,
      address: SERVICE,
      port,
      backends: [`127.0.0.1:${BACKEND_PORT}`],
      drain: "0s",
    })),
    // One by one, as an operator who knows the guests has them.
    interfaces: [...Array.from({ length: vifs - 1 }, (_, index) => `vif-${index}`), "vif-web"].map(
      (name) => ({ name }),
    ),
    limits: { flows: 1_000_000, flowsPerInterface: 1_000_000 },
  };
}

async function startOnlink({ lab }: { lab: Lab }, many: Many): Promise<void> {
  await startAgent(lab, onlinkConfig(many));
}

/** The rules for all services on all vifs, one after the other. */
function nftablesRules({ services, vifs }: Many): string {
  const names = [...Array.from({ length: vifs - 1 }, (_, index) => `vif-${index}`), "vif-web"];
  const rules = names.flatMap((name) =>
    ports(services).map(
      (port) => `iifname "${name}" ip daddr ${SERVICE} tcp dport ${port} dnat to 127.0.0.1:${BACKEND_PORT}`,
    ),
  );
  return `table ip services {\n chain to-backends {\n type nat hook prerouting priority dstnat\n ${rules.join("\n ")}\n }\n}\n`;
}

async function startNftables({ lab }: { lab: Lab }, many: Many): Promise<void> {
  await shell(lab.host, "echo 1 >/proc/sys/net/ipv4/conf/vif-web/route_localnet");
  await output(lab.host, ["nft", "-f", "-"], { input: nftablesRules(many), timeout: 120_000 });
}

test.each<[string, (count: number) => Many]>([
  ["services", (services) => ({ services, vifs: 1 })],
  ["vifs", (vifs) => ({ services: 1, vifs })],
])("a new connection where there are many %s", async (what, many) => {
  const hosts = new Map<string, { guest: Guest; lab: Lab; port: number }>();
  try {
    for (const [peer, start] of [
      ["onlink", startOnlink],
      ["nftables", startNftables],
    ] as const) {
      for (const count of COUNTS) {
        const host = await openHost(many(count));
        const port = ports(many(count).services).at(-1)!;
        hosts.set(`${peer}, ${count} ${what}`, { ...host, port });
        await start(host, many(count));
      }
    }
    const ways = Object.fromEntries(
      [...hosts].map(([name, host]) => [
        name,
        { ...host, address: SERVICE, peer: name.startsWith("nftables") },
      ]),
    );
    const results = await loadRounds(ROUNDS, ways, { kind: "connect", window: 1, seconds: SECONDS });
    const onlink = COUNTS.map((count) => `onlink, ${count} ${what}`);
    record({
      part: "scale",
      work: `A connection with one request, by the number of ${what}, p50`,
      unit: "us",
      values: figuresOf(results, ({ p50 }) => p50),
      targets: onlink
        .slice(1)
        .map((way) => ({ way, against: onlink[0]!, bound: "at most" as const, limit: 1.1 })),
      notes: failuresOf(results),
    });
  } finally {
    for (const { lab } of hosts.values()) await lab.close();
  }
});

/** Writes the configuration and has the agent take it over; in ms, from the signal until it says that it has. */
async function reload(lab: Lab, agent: LabProcess, manager: LabProcess, config: object): Promise<number> {
  const told = manager.stdout().length;
  const timeOf = async (message: string, count: number) => {
    const times = () =>
      manager
        .stdout()
        .slice(told)
        .match(new RegExp(`^.* ${message}`, "gm")) ?? [];
    await expect.poll(() => times().length, { timeout: 20_000, interval: 100 }).toBeGreaterThanOrEqual(count);
    return 1000 * Number.parseFloat(times()[0]!);
  };
  await writeConfig(lab, config);
  const start = Number(process.hrtime.bigint()) / 1e6;
  agent.kill("SIGHUP");
  const ready = await timeOf("READY=1", 1);
  // It reads the file once more, since it has changed, and finds nothing new: not while something else is measured.
  await timeOf("STATUS=", 2);
  return ready - start;
}

/** How long the shell that is in the lab already takes for `nft -f`, in ms. */
async function loadRules(lab: Lab): Promise<number> {
  const line = `nft flush ruleset; start=$EPOCHREALTIME; nft -f ${RULES_FILE}; end=$EPOCHREALTIME; echo $((\${end/./} - \${start/./}))`;
  return Number(await shell(lab.host, line)) / 1000;
}

test("a thousand services, applied at once", async () => {
  const onlink = await openHost({ services: 1, vifs: 1 });
  const nftables = await openHost({ services: 1, vifs: 1 });
  try {
    const manager = await startServiceManager(onlink.lab);
    const one = onlinkConfig({ services: 1, vifs: 1 });
    const thousand = onlinkConfig({ services: 1000, vifs: 1 });
    const agent = await startAgent(onlink.lab, one, { env: { ...AS_THE_UNIT.env, ...NOTIFY } });
    await manager.waitForLine(/ READY=1$/);
    await writeFile(nftables.lab.root + RULES_FILE, nftablesRules({ services: 1000, vifs: 1 }));
    const times: number[] = [];
    const values = await rounds(APPLY_ROUNDS, {
      onlink: async () => {
        const ms = await reload(onlink.lab, agent, manager, thousand);
        await reload(onlink.lab, agent, manager, one);
        times.push(ms);
        return ms;
      },
      nftables: () => loadRules(nftables.lab),
    });
    record({
      part: "scale",
      work: "A thousand services, applied at once",
      unit: "ms",
      values,
      targets: [{ way: "onlink", against: "nftables", bound: "at most", limit: 1 }],
      notes: [
        "Both from a file with a thousand services or rules, where none or one was before. onlink: from SIGHUP, as `systemctl reload` sends it, until the agent tells systemd that it is done. nftables: the command `nft -f FILE`, from its start to its end.",
        `The very first time, which does not count, took the agent ${times[0]!.toFixed(0)} ms: Node.js compiles what is used often.`,
      ],
    });
  } finally {
    await onlink.lab.close();
    await nftables.lab.close();
  }
});
