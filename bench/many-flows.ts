/** A host whose flow table is filled, for the benchmarks. */
import { expect } from "vitest";
import { type Guest, type Lab, openLab } from "../src/lab/lab.ts";
import type { LabProcess } from "../src/lab/process.ts";
import { startAgent } from "../test/support/agent.ts";
import { WEB } from "../test/support/guest.ts";
import { buildLoad, runLoad, SERVER_PROCESSOR } from "./load.ts";

export const SERVICE = "169.254.169.254";
/** Where a server answers datagrams. */
export const UDP_PORT = 8080;
/** What is filled leads to these ports, each of which has room for 50,000 flows of a vif. */
const FIRST_PORT = 7000;
const FLOWS_OF_PORT = 50_000;

/** A host with one guest, and an agent with room for a million flows. */
export async function openHostForFlows(): Promise<{ lab: Lab; guest: Guest; agent: LabProcess }> {
  const lab = await openLab();
  const guest = await lab.addGuest(WEB);
  const server = await lab.host.start([
    ...SERVER_PROCESSOR,
    buildLoad(),
    "serve-udp",
    "0.0.0.0",
    String(UDP_PORT),
  ]);
  await server.waitForLine(/^ready$/);
  const ports = Array.from({ length: 1_000_000 / FLOWS_OF_PORT }, (_, index) => FIRST_PORT + index);
  const service = (port: number, protocol: string) => ({
    name: `${protocol}-${port}`,
    address: SERVICE,
    port,
    protocol,
    backends: [`127.0.0.1:${port}`],
  });
  const agent = await startAgent(lab, {
    services: [service(UDP_PORT, "udp"), ...ports.map((port) => service(port, "tcp"))],
    interfaces: [{ name: "vif-*" }],
    limits: { flows: 1_000_000, flowsPerInterface: 1_000_000 },
  });
  return { lab, guest, agent };
}

/** Makes the flows, or keeps those that are there from ending. */
export async function fillFlows({ host }: Lab, count: number): Promise<void> {
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
