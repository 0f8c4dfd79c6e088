/**
 * What it takes to bring one changed backend into the datapath, beside 10 services and beside 1000, and to look at all of them as after
 * a change of the host's routes; on real maps, and with the routes of this host.
 */
import { pino } from "pino";
import { expect, test } from "vitest";
import type { HealthState } from "../src/agent/health.ts";
import { createServices } from "../src/agent/services.ts";
import { parseConfig } from "../src/config/load.ts";
import { loadDatapath } from "../src/datapath/datapath.ts";
import { openPrivateBpffs, SETTINGS } from "../src/datapath/testing.ts";
import { openRtnetlink } from "../src/linux/rtnetlink.ts";
import { record } from "./record.ts";

const ROUNDS = 41;
const LOOKS = 21;
/** What is promised of one changed service, in ms. */
const MOST_MS = 10;

function configOf(count: number) {
  const services = Array.from({ length: count }, (_, index) => ({
    name: `s${index}`,
    address: `169.254.${1 + (index >> 8)}.${index & 255}`,
    port: 80,
    backends: [`127.1.${index >> 8}.${index & 255}:80`, `127.2.${index >> 8}.${index & 255}:80`],
    healthCheck: { type: "tcp" },
  }));
  const result = parseConfig(JSON.stringify({ services, interfaces: [{ name: "tap*" }] }), "bench.json");
  if (!result.ok) throw new Error(result.errors[0]?.message);
  return result.config;
}

/** Times in ms of each change of one backend, and of each look at all services. */
function measure(count: number): { changes: number[]; looks: number[] } {
  const bpffs = openPrivateBpffs();
  const network = openRtnetlink();
  const datapath = loadDatapath({ pinDir: bpffs.path, attach: "auto", flowCapacity: 65_536 });
  try {
    datapath.setSettings(SETTINGS);
    const changed = `s${count - 1}`;
    let isHealthy = true;
    const stateOf = (name: string, { address }: { address: string }): HealthState => ({
      state: isHealthy || name !== changed || address.startsWith("127.1.") ? "healthy" : "unhealthy",
      since: "",
    });
    const services = createServices({
      config: configOf(count),
      network,
      datapath,
      names: { follow: () => {}, stateOf: () => ({ addresses: [] }) },
      health: { follow: () => {}, keepOnly: () => {}, stateOf },
      own: new Set(),
      onFabric: () => {},
      reconcileIn: () => {},
      log: pino({ enabled: false }),
    });
    const timed = (step: () => void) => {
      const start = performance.now();
      step();
      return performance.now() - start;
    };
    services.reconcile();
    const changes = Array.from({ length: ROUNDS }, () => {
      isHealthy = !isHealthy;
      const took = timed(() => services.update(({ name }) => name === changed));
      expect(datapath.backends.entries().length).toBe(2 * count - (isHealthy ? 0 : 1));
      return took;
    });
    return { changes, looks: Array.from({ length: LOOKS }, () => timed(services.reconcile)) };
  } finally {
    datapath.close();
    network.close();
    bpffs.close();
  }
}

test("one changed backend, with few and many services", () => {
  const few = measure(10);
  const many = measure(1000);
  record({
    part: "reconcile",
    work: "One backend turns unhealthy or healthy",
    unit: "ms",
    values: { "10 services": few.changes, "1000 services": many.changes },
    targets: [{ way: "1000 services", bound: "at most", limit: MOST_MS }],
    notes: ["Two backends each, every one at an address of its own."],
  });
  record({
    part: "reconcile",
    work: "A look at all services, as after a change of routes",
    unit: "ms",
    values: { "10 services": few.looks, "1000 services": many.looks },
    targets: [],
    notes: ["Asks the kernel for the route to each address; nothing has changed."],
  });
});
