/**
 * Metadata requests of one guest over 32 connections that stay open: the proxy next to haproxy and nginx doing the same header work before the same upstream, and
 * the builtin store next to a bare server of Node.js. All are reached through the datapath, from one guest, and each is one process. The client, and the
 * upstream with it, have one processor, the servers that are compared the other.
 */
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { test } from "vitest";
import { type Guest, type Lab, openLab } from "../src/lab/lab.ts";
import type { LabProcess } from "../src/lab/process.ts";
import { waitFor } from "../src/lab/wait.ts";
import { startAgent } from "../test/support/agent.ts";
import { WEB } from "../test/support/guest.ts";
import { CLIENT_PROCESSOR, figuresOf, type LoadWay, loadRounds, rateOf, SERVER_PROCESSOR } from "./load.ts";
import { median } from "./median.ts";
import { record } from "./record.ts";
import type { Target } from "./report.ts";
import { AS_THE_UNIT } from "./unit.ts";

const ROUNDS = 15;
const LOAD = { kind: "http", window: 32, seconds: 0.6 } as const;
/** What the agent answers at, and by whose port on the host the others are reached at which address. */
const OWN = "169.254.169.254";
const PEERS = { haproxy: 8081, nginx: 8082, upstream: 8775 };
const ADDRESSES = { haproxy: "169.254.169.253", nginx: "169.254.169.252", upstream: "169.254.169.251" };
const UNLIMITED = { requestsPerSecond: 1_000_000, requestsInFlight: 1000 };

const file = (name: string) => fileURLToPath(new URL(name, import.meta.url));

/** A host with a guest, and an agent that serves it at `OWN` and leads it to the peers. */
async function open(metadata: object): Promise<{ lab: Lab; guest: Guest; agent: LabProcess }> {
  const lab = await openLab();
  const guest = await lab.addGuest(WEB);
  const agent = await startAgent(
    lab,
    {
      services: [
        { name: "own", address: OWN, port: 80, kind: "metadata" },
        ...(["haproxy", "nginx", "upstream"] as const).map((name) => ({
          name,
          address: ADDRESSES[name],
          port: 80,
          backends: [`127.0.0.1:${PEERS[name]}`],
        })),
      ],
      interfaces: [
        {
          name: "vif-web",
          instanceId: "6f3a0a3e-3b1c-4f0e-9a53-1f3a6a1d2c11",
          projectId: "0f7c1e0a-5b52-4f3e-8a0e-6d4f0b7a9e21",
          addresses: ["10.0.1.3"],
        },
      ],
      metadata: { ...metadata, limits: UNLIMITED },
    },
    AS_THE_UNIT,
  );
  const [tool, list, processor] = SERVER_PROCESSOR;
  execFileSync(tool!, ["--all-tasks", "--pid", list!, processor!, String(agent.pid)]);
  return { lab, guest, agent };
}

/** What a process has in memory, in MiB. */
function memoryOf({ pid }: LabProcess): number {
  const [, kib] = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, "utf8")) ?? [];
  return Number(kib) / 1024;
}

/** The ways from the guest to these addresses, once all of them answer. */
async function waysTo<Name extends string>(
  lab: Lab,
  guest: Guest,
  addresses: Record<Name, string>,
): Promise<Record<Name, LoadWay>> {
  for (const address of Object.values<string>(addresses)) {
    const argv = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", `http://${address}/`];
    await waitFor(`an answer from ${address}`, async () => (await guest.run(argv)).stdout === "200");
  }
  const entries = Object.entries<string>(addresses).map(([name, address]) => [
    name,
    { lab, guest, address, port: 80, peer: name !== "onlink" },
  ]);
  return Object.fromEntries(entries) as Record<Name, LoadWay>;
}

test("the proxy next to haproxy and nginx", async () => {
  const { lab, guest, agent } = await open({
    mode: "proxy",
    proxy: { upstream: "http://127.0.0.1:8775", secret: "s3cret" },
  });
  await using _ = lab;
  await lab.host.start([...CLIENT_PROCESSOR, "nginx", "-c", file("metadata-upstream.conf")]);
  const haproxy = await lab.host.start([...SERVER_PROCESSOR, "haproxy", "-f", file("metadata-haproxy.cfg")]);
  const nginx = await lab.host.start([...SERVER_PROCESSOR, "nginx", "-c", file("metadata-nginx.conf")]);
  const ways = await waysTo(lab, guest, { onlink: OWN, ...ADDRESSES });
  const { upstream, ...results } = await loadRounds(ROUNDS, ways, LOAD);
  const targets = (bound: Target["bound"], limit: number): Target[] => [
    { way: "onlink", against: "haproxy", bound, limit },
  ];
  const common = { part: "metadata", notes: [] };
  record({
    ...common,
    work: "Proxy, rate",
    unit: "requests/s",
    values: figuresOf(results, rateOf),
    targets: targets("at least", 1),
    notes: [
      `Client and upstream without a proxy between them: median ${Math.round(median(upstream.map(rateOf))).toLocaleString("en")} requests/s.`,
    ],
  });
  record({
    ...common,
    work: "Proxy, p99",
    unit: "us",
    values: figuresOf(results, ({ p99 }) => p99),
    targets: targets("at most", 2),
  });
  record({
    ...common,
    work: "Proxy, memory after the load",
    unit: "MiB",
    values: { onlink: [memoryOf(agent)], haproxy: [memoryOf(haproxy)], nginx: [memoryOf(nginx)] },
    targets: [],
    notes: ["onlink: the whole agent"],
  });
});

const BARE_SERVER = `
const body = "i-0123456789abcdef0\\n";
const head = { "Content-Type": "text/plain", "Content-Length": body.length };
const answer = (request, response) => response.writeHead(200, head).end(body);
require("node:http").createServer(answer).listen(${PEERS.haproxy}, "127.0.0.1", () => console.log("ready"));`;

test("the builtin store next to a bare server of Node.js", async () => {
  const { lab, guest } = await open({ mode: "builtin" });
  await using _ = lab;
  const bare = await lab.host.start([...SERVER_PROCESSOR, process.execPath, "-e", BARE_SERVER]);
  await bare.waitForLine(/^ready$/);
  const ways = await waysTo(lab, guest, { onlink: OWN, "node:http": ADDRESSES.haproxy });
  const results = await loadRounds(ROUNDS, ways, LOAD);
  const common = { part: "metadata", notes: [] };
  record({
    ...common,
    work: "Builtin, rate",
    unit: "requests/s",
    values: figuresOf(results, rateOf),
    targets: [{ way: "onlink", against: "node:http", bound: "at least", limit: 0.85 }],
  });
  record({
    ...common,
    work: "Builtin, p99",
    unit: "us",
    values: figuresOf(results, ({ p99 }) => p99),
    targets: [],
  });
});
