/**
 * What a packet of an open flow costs with few and with many flows in the table: the time of a datagram and its answer, one at a time. Each number
 * of flows is kept on a host of its own, by the first frames of that many connections that nobody answers.
 */
import { expect, test } from "vitest";
import { type Guest, type Lab, openLab } from "../src/lab/lab.ts";
import { startAgent } from "../test/support/agent.ts";
import { buildLoad, runLoad } from "./load.ts";
import { record } from "./record.ts";
import { rounds, withoutFirst } from "./rounds.ts";

const ROUNDS = 5;
const SECONDS = 1;
const SERVICE = "169.254.169.254";
const UDP_PORT = 8080;
/** What is filled leads to these ports, each of which has room for 50,000 flows of a vif. */
const FIRST_PORT = 7000;
const FLOWS_OF_PORT = 50_000;
const COUNTS = { "10 flows": 10, "10,000 flows": 10_000, "1,000,000 flows": 999_900 } as const;
type Count = keyof typeof COUNTS;

async function openHost(): Promise<{ lab: Lab; guest: Guest }> {
  const lab = await openLab();
  const guest = await lab.addGuest({
    name: "web",
    link: "veth",
    behaviour: "on-link",
    address: "10.0.1.3/24",
    gateway: "10.0.1.1",
  });
  const server = await lab.host.start([buildLoad(), "serve-udp", "0.0.0.0", String(UDP_PORT)]);
  await server.waitForLine(/^ready$/);
  const ports = Array.from({ length: 1_000_000 / FLOWS_OF_PORT }, (_, index) => FIRST_PORT + index);
  const service = (port: number, protocol: string) => ({
    name: `${protocol}-${port}`,
    address: SERVICE,
    port,
    protocol,
    backends: [`127.0.0.1:${port}`],
  });
  await startAgent(lab, {
    services: [service(UDP_PORT, "udp"), ...ports.map((port) => service(port, "tcp"))],
    interfaces: [{ name: "vif-*" }],
    limits: { flows: 1_000_000, flowsPerInterface: 1_000_000 },
  });
  return { lab, guest };
}

/** Makes the flows, or keeps those that are there from ending. */
async function fill({ host }: Lab, count: number): Promise<void> {
  const program = "/run/onlink/bpf/programs/onlink_vif";
  const { good } = await runLoad(
    host,
    "fill",
    program,
    "vif-web",
    SERVICE,
    String(FIRST_PORT),
    String(count),
  );
  expect(good).toBe(count);
}

test("a packet of an open flow, with few and many flows in the table", async () => {
  const names = Object.keys(COUNTS) as Count[];
  const hosts = new Map<Count, { lab: Lab; guest: Guest }>();
  try {
    for (const name of names) hosts.set(name, await openHost());
    const p99 = Object.fromEntries(names.map((name) => [name, [] as number[]]));
    const timeOf = (name: Count) => async () => {
      const { lab, guest } = hosts.get(name)!;
      await fill(lab, COUNTS[name]);
      const result = await runLoad(guest, "udp", SERVICE, String(UDP_PORT), String(SECONDS), "1");
      p99[name]!.push(result.p99);
      return result.p50;
    };
    const p50 = await rounds(ROUNDS, Object.fromEntries(names.map((name) => [name, timeOf(name)])));
    record({
      part: "flows",
      work: "Time of a datagram and its answer, p50",
      unit: "us",
      values: p50,
      targets: names
        .slice(1)
        .map((way) => ({ way, against: names[0]!, bound: "at most" as const, limit: 1.1 })),
      notes: [],
    });
    record({
      part: "flows",
      work: "Time of a datagram and its answer, p99",
      unit: "us",
      values: withoutFirst(p99),
      targets: [],
      notes: [],
    });
  } finally {
    for (const { lab } of hosts.values()) await lab.close();
  }
});
