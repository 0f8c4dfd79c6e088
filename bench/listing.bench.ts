/**
 * A million flows, listed to the end as `onlink flows --json` does, and searched for the few of one backend: how long that takes, and how much the
 * agent grows over it. The kernel's own mark of the most memory that a process had is put back before.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { expect, test } from "vitest";
import type { LabProcess } from "../src/lab/process.ts";
import { CONFIG_FILE, ONLINK } from "../test/support/agent.ts";
import { shell } from "../test/support/commands.ts";
import { fillFlows, openHostForFlows } from "./many-flows.ts";
import { record } from "./record.ts";

const ROUNDS = 3;
const FLOWS = 999_900;
const WAYS = { all: [], "of a backend that has none": ["--backend", "192.0.2.1"] };

/** A field of /proc/PID/status, in MB. */
function memory({ pid }: LabProcess, field: "VmRSS" | "VmHWM"): number {
  return (
    Number(new RegExp(`${field}:\\s+(\\d+) kB`).exec(readFileSync(`/proc/${pid}/status`, "utf8"))![1]) / 1000
  );
}

test(`${FLOWS} flows listed page by page`, async () => {
  const { lab, agent } = await openHostForFlows();
  const names = Object.keys(WAYS);
  const time = Object.fromEntries(names.map((way) => [way, [] as number[]]));
  const growth = Object.fromEntries(names.map((way) => [way, [] as number[]]));
  try {
    for (let round = 0; round < ROUNDS; round++) {
      for (const [way, filter] of Object.entries(WAYS)) {
        await fillFlows(lab, FLOWS);
        // The most memory so far (proc(5)).
        writeFileSync(`/proc/${agent.pid}/clear_refs`, "5");
        const before = memory(agent, "VmRSS");
        const started = performance.now();
        const command = [process.execPath, ONLINK, "flows", "--json", ...filter, "--config", CONFIG_FILE];
        const listed = Number(await shell(lab.host, `${command.join(" ")} | wc -l`, { timeout: 120_000 }));
        expect(listed).toBe(filter.length === 0 ? FLOWS : 0);
        time[way]!.push((performance.now() - started) / 1000);
        growth[way]!.push(memory(agent, "VmHWM") - before);
      }
    }
  } finally {
    await lab.close();
  }
  record({
    part: "listing",
    work: "A million flows listed, all or those wanted",
    unit: "s",
    values: time,
    targets: [],
    notes: [],
  });
  record({
    part: "listing",
    work: "Growth of the agent's resident memory meanwhile",
    unit: "MB",
    values: growth,
    targets: names.map((way) => ({ way, bound: "at most" as const, limit: 50 })),
    notes: ["The most it had at any time, less what it had before."],
  });
});
