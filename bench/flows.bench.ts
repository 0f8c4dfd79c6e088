/**
 * What a packet of an open flow costs with few and with many flows in the table: the time of a datagram and its answer, one at a time. Each number
 * of flows is kept on a host of its own, by the first frames of that many connections that nobody answers.
 */
import { test } from "vitest";
import type { Guest, Lab } from "../src/lab/lab.ts";
import { figuresOf, loadRounds } from "./load.ts";
import { fillFlows, openHostForFlows, SERVICE, UDP_PORT } from "./many-flows.ts";
import { record } from "./record.ts";

const ROUNDS = 5;
const SECONDS = 1;
const COUNTS = { "10 flows": 10, "10,000 flows": 10_000, "1,000,000 flows": 999_900 } as const;
type Count = keyof typeof COUNTS;

test("a packet of an open flow, with few and many flows in the table", async () => {
  const names = Object.keys(COUNTS) as Count[];
  const hosts = new Map<Count, { lab: Lab; guest: Guest }>();
  try {
    for (const name of names) hosts.set(name, await openHostForFlows());
    for (const name of names) await fillFlows(hosts.get(name)!.lab, COUNTS[name]);
    const ways = Object.fromEntries(
      names.map((name) => [name, { ...hosts.get(name)!, address: SERVICE, port: UDP_PORT, peer: false }]),
    );
    const results = await loadRounds(ROUNDS, ways, { kind: "udp", window: 1, seconds: SECONDS });
    record({
      part: "flows",
      work: "Time of a datagram and its answer, p50",
      unit: "us",
      values: figuresOf(results, ({ p50 }) => p50),
      targets: names
        .slice(1)
        .map((way) => ({ way, against: names[0]!, bound: "at most" as const, limit: 1.1 })),
      notes: [],
    });
    record({
      part: "flows",
      work: "Time of a datagram and its answer, p99",
      unit: "us",
      values: figuresOf(results, ({ p99 }) => p99),
      targets: [],
      notes: [],
    });
  } finally {
    for (const { lab } of hosts.values()) await lab.close();
  }
});
