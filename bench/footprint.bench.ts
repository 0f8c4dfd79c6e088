/**
 * What the agent takes at rest, with one vif and with a thousand, next to what Neutron runs for the same: one haproxy for each network. A thousand
 * of them would not fit here, so a few are run, and what one of them takes is multiplied; memory is the proportional share (PSS), in
 * which pages that processes share count once.
 */
import { readdirSync, readFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { test } from "vitest";
import { type Lab, openLab } from "../src/lab/lab.ts";
import { startAgent } from "../test/support/agent.ts";
import { output } from "../test/support/commands.ts";
import { record } from "./record.ts";
import { AS_THE_UNIT } from "./unit.ts";

const NETWORKS = 1000;
const HAPROXIES = 20;
/** How long processor time is watched, in s. */
const REST = 5;
const ROUNDS = 3;

/** The proportional share of memory of a process, in MiB (proc(5), smaps_rollup). */
function memoryOf(pid: number): number {
  return Number(/^Pss:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, "utf8"))![1]) / 1024;
}

/** Processor time that a process has had, in ms, all threads together: the first number of schedstat, in ns. */
function timeOf(pid: number): number {
  const threads = readdirSync(`/proc/${pid}/task`);
  const times = threads.map((thread) =>
    Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, "utf8").split(" ")[0]),
  );
  return times.reduce((sum, time) => sum + time, 0) / 1e6;
}

/** Memory in MiB, and processor time in ms for each second at rest, of several processes together. */
async function rest(pids: readonly number[]): Promise<{ memory: number; time: number }> {
  const before = pids.map(timeOf);
  await sleep(REST * 1000);
  const time = pids.reduce((sum, pid, index) => sum + timeOf(pid) - before[index]!, 0) / REST;
  return { memory: pids.reduce((sum, pid) => sum + memoryOf(pid), 0), time };
}

async function startOnlink(vifs: number): Promise<{ lab: Lab; pids: number[]; factor: number }> {
  const lab = await openLab();
  const links = Array.from(
    { length: vifs },
    (_, index) => `link add vif-${index} up type veth peer name p${index}`,
  );
  await output(lab.host, ["ip", "-batch", "-"], { input: `${links.join("\n")}\n`, timeout: 120_000 });
  const agent = await startAgent(
    lab,
    {
      services: [{ name: "metadata", address: "169.254.169.254", port: 80, kind: "metadata" }],
      interfaces: [{ name: "vif-*" }],
      metadata: { mode: "proxy", proxy: { upstream: "http://127.0.0.1:8775", secret: "secret" } },
    },
    AS_THE_UNIT,
  );
  return { lab, pids: [agent.pid!], factor: 1 };
}

/** As Neutron's metadata agent configures it: one listener, one upstream, identity headers. */
async function startHaproxies(): Promise<{ lab: Lab; pids: number[]; factor: number }> {
  const lab = await openLab();
  const pids: number[] = [];
  for (let network = 0; network < HAPROXIES; network++) {
    const file = `/run/haproxy-${network}.cfg`;
    await writeFile(
      lab.root + file,
      `global
    maxconn 1024
defaults
    mode http
    timeout http-request 30s
    timeout connect 30s
    timeout client 32s
    timeout server 32s
    timeout http-keep-alive 30s
listen listener
    bind 127.0.0.1:${9000 + network}
    server metadata 127.0.0.1:8775
    http-request del-header X-Neutron-Router-ID
    http-request set-header X-Neutron-Network-ID network-${network}
`,
    );
    const haproxy = await lab.host.start(["haproxy", "-db", "-f", file]);
    pids.push(haproxy.pid!);
  }
  return { lab, pids, factor: NETWORKS / HAPROXIES };
}

test("memory and processor time at rest", async () => {
  const hosts = {
    "onlink, 1 vif": await startOnlink(1),
    [`onlink, ${NETWORKS} vifs`]: await startOnlink(NETWORKS),
    [`haproxy, one for each of ${NETWORKS} networks`]: await startHaproxies(),
  };
  try {
    const names = Object.keys(hosts);
    const memory = Object.fromEntries(names.map((name) => [name, [] as number[]]));
    const time = Object.fromEntries(names.map((name) => [name, [] as number[]]));
    // They do not disturb each other: at rest they do next to nothing.
    for (let round = 0; round < ROUNDS; round++) {
      for (const [name, { pids, factor }] of Object.entries(hosts)) {
        const found = await rest(pids);
        memory[name]!.push(found.memory * factor);
        time[name]!.push(found.time * factor);
      }
    }
    const targets = [{ way: names[1]!, against: names[2]!, bound: "at most" as const, limit: 1 }];
    const notes = [`haproxy: ${HAPROXIES} processes, multiplied by ${NETWORKS / HAPROXIES}.`];
    record({ part: "footprint", work: "Memory at rest", unit: "MiB", values: memory, targets, notes });
    record({
      part: "footprint",
      work: "Processor time at rest",
      unit: "ms/s",
      values: time,
      targets,
      notes,
    });
  } finally {
    for (const { lab } of Object.values(hosts)) await lab.close();
  }
});
