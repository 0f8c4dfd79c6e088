/**
 * What a new connection costs where there are many services, and where there are many vifs, next to nftables with a rule for each. The one
 * that is asked is the last, which is what rules that are gone through one by one take the longest to find.
 */
import { expect, test } from "vitest";
import { type Guest, type Lab, openLab } from "../src/lab/lab.ts";
import { startAgent, writeConfig } from "../test/support/agent.ts";
import { output, shell } from "../test/support/commands.ts";
import { WEB } from "../test/support/guest.ts";
import { buildLoad, failuresOf, figuresOf, loadRounds, SERVER_PROCESSOR } from "./load.ts";
import { record } from "./record.ts";
import { reloads } from "./reloads.ts";
import { rounds } from "./rounds.ts";

const ROUNDS = 5;
const SECONDS = 1;
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

async function startNftables({ lab }: { lab: Lab }, { services, vifs }: Many): Promise<void> {
  await shell(lab.host, "echo 1 >/proc/sys/net/ipv4/conf/vif-web/route_localnet");
  const names = [...Array.from({ length: vifs - 1 }, (_, index) => `vif-${index}`), "vif-web"];
  const rules = names.flatMap((name) =>
    ports(services).map(
      (port) => `iifname "${name}" ip daddr ${SERVICE} tcp dport ${port} dnat to 127.0.0.1:${BACKEND_PORT}`,
    ),
  );
  await output(lab.host, ["nft", "-f", "-"], {
    input: `table ip services {\n chain to-backends {\n type nat hook prerouting priority dstnat\n ${rules.join("\n ")}\n }\n}\n`,
    timeout: 120_000,
  });
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

test("a thousand services, applied at once", async () => {
  const onlink = await openHost({ services: 1, vifs: 1 });
  const nftables = await openHost({ services: 1, vifs: 1 });
  try {
    await startOnlink(onlink, { services: 1, vifs: 1 });
    const applied = async (services: number) => {
      const before = await reloads(onlink.lab);
      await writeConfig(onlink.lab, onlinkConfig({ services, vifs: 1 }));
      await expect
        .poll(async () => (await reloads(onlink.lab)).count, { timeout: 20_000, interval: 100 })
        .toBe(before.count + 1);
      return (await reloads(onlink.lab)).ms - before.ms;
    };
    record({
      part: "scale",
      work: "A thousand services, applied at once",
      unit: "ms",
      values: await rounds(ROUNDS, {
        onlink: async () => {
          const ms = await applied(1000);
          await applied(1);
          return ms;
        },
        nftables: async () => {
          await nftables.lab.host.run(["nft", "flush", "ruleset"]);
          const start = performance.now();
          await startNftables(nftables, { services: 1000, vifs: 1 });
          return performance.now() - start;
        },
      }),
      targets: [{ way: "onlink", against: "nftables", bound: "at most", limit: 1 }],
      notes: [
        "onlink: from where the agent begins to bring the datapath in step until it is. nftables: nft -f, from the start of the command to its end, entering the lab's namespace included.",
      ],
    });
  } finally {
    await onlink.lab.close();
    await nftables.lab.close();
  }
});
