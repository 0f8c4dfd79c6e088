/**
 * Metadata requests of one guest over 32 connections: the proxy next to haproxy doing the same header work before the same upstream, and the builtin
 * store next to a bare server of Node.js. All are reached through the datapath, from one guest, and each is one process.
 */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { type Guest, type Lab, openLab } from "../src/lab/lab.ts";
import type { LabProcess } from "../src/lab/process.ts";
import { waitFor } from "../src/lab/wait.ts";
import { startAgent } from "../test/support/agent.ts";
import { output } from "../test/support/commands.ts";
import { WEB } from "../test/support/guest.ts";
import { record } from "./record.ts";
import { rounds, withoutFirst } from "./rounds.ts";
import { AS_THE_UNIT } from "./unit.ts";

/** Many short rounds: a virtual machine may change its speed within seconds, by half, and each way is to have its share of that. */
const ROUNDS = 15;
const SECONDS = 1;
const PATH = "/latest/meta-data/instance-id";
/** What the peer of each is reached by. */
const [OWN, PEER] = ["169.254.169.254", "169.254.169.253"];
const UNLIMITED = { requestsPerSecond: 1_000_000, requestsInFlight: 1000 };
const UNITS: Record<string, number> = { us: 1, ms: 1000, s: 1_000_000 };

const file = (name: string) => fileURLToPath(new URL(name, import.meta.url));

/** A host with a guest, and an agent that serves it at `OWN` and leads it to 127.0.0.1:8081 at `PEER`. */
async function open(metadata: object): Promise<{ lab: Lab; guest: Guest; agent: LabProcess }> {
  const lab = await openLab();
  const guest = await lab.addGuest(WEB);
  const agent = await startAgent(
    lab,
    {
      services: [
        { name: "own", address: OWN, port: 80, kind: "metadata" },
        { name: "peer", address: PEER, port: 80, backends: ["127.0.0.1:8081"] },
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
  return { lab, guest, agent };
}

/** One run of wrk: requests a second, and the time in microseconds within which 99 of 100 were answered. */
async function load(guest: Guest, address: string): Promise<{ rate: number; p99: number }> {
  const argv = ["wrk", "-t1", "-c32", `-d${SECONDS}s`, "--latency", `http://${address}${PATH}`];
  const text = await output(guest, argv);
  expect(text).not.toMatch(/Non-2xx|Socket errors/);
  const [, rate] = /Requests\/sec:\s+([\d.]+)/.exec(text) ?? [];
  const [, time, unit] = /99%\s+([\d.]+)(us|ms|s)/.exec(text) ?? [];
  return { rate: Number(rate), p99: Number(time) * UNITS[unit!]! };
}

/** What a process has in memory, in MiB. */
function memoryOf({ pid }: LabProcess): number {
  const [, kib] = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, "utf8")) ?? [];
  return Number(kib) / 1024;
}

async function compare(
  guest: Guest,
  work: string,
  peer: string,
  limits: { rate: number; p99?: number },
): Promise<void> {
  const p99: Record<string, number[]> = { onlink: [], [peer]: [] };
  const rateOf = async (way: string, address: string) => {
    const result = await load(guest, address);
    p99[way]!.push(result.p99);
    return result.rate;
  };
  const rates = await rounds(ROUNDS, {
    onlink: () => rateOf("onlink", OWN),
    [peer]: () => rateOf(peer, PEER),
  });
  const common = { part: "metadata", notes: [] };
  record({
    ...common,
    work: `${work}, rate`,
    unit: "requests/s",
    values: rates,
    targets: [{ way: "onlink", against: peer, bound: "at least", limit: limits.rate }],
  });
  record({
    ...common,
    work: `${work}, p99`,
    unit: "us",
    values: withoutFirst(p99),
    targets:
      limits.p99 === undefined ? [] : [{ way: "onlink", against: peer, bound: "at most", limit: limits.p99 }],
  });
}

test("the proxy next to haproxy", async () => {
  const { lab, guest, agent } = await open({
    mode: "proxy",
    proxy: { upstream: "http://127.0.0.1:8775", secret: "s3cret" },
  });
  await using _ = lab;
  await lab.host.start(["nginx", "-c", file("metadata-upstream.conf")]);
  const haproxy = await lab.host.start(["haproxy", "-f", file("metadata-haproxy.cfg")]);
  for (const address of [OWN, PEER]) {
    await waitFor(`an answer from ${address}`, async () => {
      const { stdout } = await guest.run([
        "curl",
        "-s",
        "-o",
        "/dev/null",
        "-w",
        "%{http_code}",
        `http://${address}/`,
      ]);
      return stdout === "200";
    });
  }
  await compare(guest, "Proxy", "haproxy", { rate: 1, p99: 2 });
  record({
    part: "metadata",
    work: "Proxy, memory after the load",
    unit: "MiB",
    values: { onlink: [memoryOf(agent)], haproxy: [memoryOf(haproxy)] },
    targets: [],
    notes: ["onlink: the whole agent"],
  });
});

const BARE_SERVER = `
const body = "i-0123456789abcdef0\\n";
const head = { "Content-Type": "text/plain", "Content-Length": body.length };
const answer = (request, response) => response.writeHead(200, head).end(body);
require("node:http").createServer(answer).listen(8081, "127.0.0.1", () => console.log("ready"));`;

test("the builtin store next to a bare server of Node.js", async () => {
  const { lab, guest } = await open({ mode: "builtin" });
  await using _ = lab;
  const bare = await lab.host.start([process.execPath, "-e", BARE_SERVER]);
  await bare.waitForLine(/^ready$/);
  await compare(guest, "Builtin", "node:http", { rate: 0.85 });
});
