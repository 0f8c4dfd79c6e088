/**
 * A host with many services and interfaces: how long the agent takes to be ready, on a bare host and where it finds a datapath at work; how much
 * memory it takes; how long one changed service and one new interface take.
 */
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { type Lab, openLab } from "../src/lab/lab.ts";
import type { LabProcess } from "../src/lab/process.ts";
import { onlink, startAgent, writeConfig } from "../test/support/agent.ts";
import { output, shell } from "../test/support/commands.ts";
import { record } from "./record.ts";
import { reloads } from "./reloads.ts";
import { AS_THE_UNIT } from "./unit.ts";

const ROUNDS = 5;
const COUNT = 1000;
const WAY = "onlink";

/** Half of the backends are on the host and half on the fabric; each service has an address and a backend of its own. */
function config(changed = 0): object {
  const services = Array.from({ length: COUNT }, (_, i) => ({
    name: `service-${i}`,
    address: `169.254.${1 + Math.floor(i / 250)}.${1 + (i % 250)}`,
    port: 80,
    backends: [i % 2 === 0 ? `127.0.0.1:${10_000 + i}` : `192.0.2.${10 + (i % 200)}:${10_000 + i}`],
  }));
  services[0]!.backends = [`127.0.0.1:${9000 + changed}`];
  return { services, interfaces: [{ name: "vif-*" }] };
}

async function openHost(): Promise<Lab> {
  const lab = await openLab();
  await lab.addFabric({ name: "fab0", hostAddress: "192.0.2.1/24", address: "192.0.2.250/24" });
  const pairs = Array.from({ length: COUNT }, (_, i) => `link add vif-${i} up type veth peer name g${i}\n`);
  await output(lab.host, ["ip", "-batch", "-"], { input: pairs.join("") });
  return lab;
}

/** Starts the agent; in ms, how long until it said that it is ready. */
async function timedStart(lab: Lab): Promise<{ agent: LabProcess; ms: number }> {
  const start = performance.now();
  const agent = await startAgent(lab, config(), AS_THE_UNIT);
  return { agent, ms: performance.now() - start };
}

/** Resident memory of a process, in MB. */
function residentMemory({ pid }: LabProcess): number {
  return Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))![1]) / 1000;
}

test(`start with ${COUNT} services and ${COUNT} interfaces`, async () => {
  await using lab = await openHost();
  const found: Record<"cold" | "adopted" | "memory" | "change" | "interface", number[]> = {
    cold: [],
    adopted: [],
    memory: [],
    change: [],
    interface: [],
  };
  for (let round = 0; round < ROUNDS; round++) {
    const cold = await timedStart(lab);
    found.cold.push(cold.ms);
    expect(cold.agent.stdout().match(/"vif attached"/g)).toHaveLength(COUNT);
    await cold.agent.stop();
    const { agent, ms } = await timedStart(lab);
    found.adopted.push(ms);

    const name = `vif-new${round}`;
    await shell(lab.host, `ip link add ${name} type veth peer name new${round}`);
    const added = performance.now();
    await agent.waitForLine(new RegExp(`"interface":"${name}".*"vif attached"`));
    found.interface.push(performance.now() - added);
    await shell(lab.host, `ip link del ${name}`);

    const before = await reloads(lab);
    await writeConfig(lab, config(round + 1));
    await agent.waitForLine(/"configuration changed"/);
    await expect.poll(async () => (await reloads(lab)).count, { timeout: 10_000 }).toBe(before.count + 1);
    found.change.push((await reloads(lab)).ms - before.ms);
    found.memory.push(residentMemory(agent));
    await agent.stop();
    expect((await onlink(lab, "down")).code).toBe(0);
  }

  const target = (limit: number) => [{ way: WAY, bound: "at most" as const, limit }];
  const one = (work: string, unit: string, values: number[], limit: number, note?: string) =>
    record({
      part: "start",
      work,
      unit,
      values: { [WAY]: values },
      targets: target(limit),
      notes: note ? [note] : [],
    });
  one("Until the agent is ready, on a bare host", "ms", found.cold, 3000);
  one("Until the agent is ready, where it finds a datapath", "ms", found.adopted, 1000);
  one("One changed service, until it is in the datapath", "ms", found.change, 10);
  one(
    "One new interface, until it is attached",
    "ms",
    found.interface,
    50,
    "From when the command that made it has ended.",
  );
  one("Resident memory", "MB", found.memory, 120);
});
