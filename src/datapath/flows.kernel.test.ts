/** The list of flows, page by page. */
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { udpFrame } from "../packet/build.ts";
import { loadDatapath, removeDatapath } from "./datapath.ts";
import { flowFilterLayout, u32Layout } from "./layout.ts";
import { closeFd, getPinned, updateElement } from "./libbpf.ts";
import { allFlows, openPrivateBpffs, SERVICE, SETTINGS, VIF } from "./testing.ts";
import type { Datapath } from "./types.ts";

const LOOPBACK = 1;
const FLOWS = 2000;

let bpffs: ReturnType<typeof openPrivateBpffs>;
let datapath: Datapath;

beforeAll(() => {
  bpffs = openPrivateBpffs();
});
afterAll(() => bpffs.close());

beforeEach(() => {
  removeDatapath(bpffs.path);
  datapath = loadDatapath({ pinDir: bpffs.path, attach: "auto", flowCapacity: 4096 });
  datapath.setSettings({ ...SETTINGS, maxFlows: 4096, maxFlowsPerVif: 4096 });
  datapath.setVif(LOOPBACK, VIF);
  for (const [id, port] of [
    [1, 53],
    [2, 123],
  ] as const) {
    datapath.backends.set({ service: id, slot: 0 }, { kind: "host-local", address: "127.0.0.1", port });
    datapath.services.set(
      { address: SERVICE, port, protocol: "udp" },
      { id, backends: 1, responseHopLimit: 64, whenNoBackend: "reject", drain: 0, drainEnds: 0n },
    );
  }
  datapath.serviceAddresses.set(SERVICE, { services: 2 });
  return () => datapath.close();
});

function open(sourcePort: number, destinationPort = 53): void {
  const guest = { sourceMac: "02:00:0a:00:01:03", source: "10.0.1.3", sourcePort };
  const service = { destinationMac: "02:00:0a:00:01:01", destination: SERVICE, destinationPort };
  datapath.run("vif", udpFrame({ ...guest, ...service, data: Buffer.from("query") }));
}

/** The guest's ports on the pages of `limit`, in the order in which they come; `between` is done after each page. */
function listPorts(limit: number, between: (page: number) => void = () => {}): number[][] {
  const pages: number[][] = [];
  let cursor: string | undefined;
  do {
    const { flows, next } = datapath.flowPage({ cursor, limit });
    pages.push(flows.map(([key]) => key.guestPort));
    between(pages.length);
    cursor = next;
  } while (cursor !== undefined);
  return pages;
}

const sorted = (ports: number[]) => [...ports].sort((a, b) => a - b);
const range = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => from + i);

describe("flowPage", () => {
  it("has an empty last page where there are none", () => {
    expect(datapath.flowPage({ limit: 10 })).toEqual({ flows: [] });
  });

  it.each([1, 7, 100, 10_000])("has each flow once on pages of %i, none of them longer", (limit) => {
    for (const port of range(1, 1 + FLOWS)) open(port);
    const pages = listPorts(limit);
    expect(sorted(pages.flat())).toEqual(range(1, 1 + FLOWS));
    // One bucket may hold more than one flow; they cannot be parted.
    expect(Math.max(...pages.map((page) => page.length))).toBeLessThanOrEqual(Math.max(limit, 8));
    if (limit === 100) expect(pages.length).toBeLessThan(2 * (FLOWS / limit));
  });

  it("has those that stay once, while others come and go", () => {
    for (const port of range(1, 1 + FLOWS)) open(port);
    for (const port of range(10_001, 10_101)) open(port, 123);
    const pages = listPorts(100, (page) => {
      if (page === 3) datapath.endFlows([{ service: 2 }]);
      open(20_000 + page);
    });
    expect(sorted(pages.flat().filter((port) => port <= FLOWS))).toEqual(range(1, 1 + FLOWS));
    expect(new Set(pages.flat()).size).toBe(pages.flat().length);
  });

  it.each(["", "1", "32.0", "-1.0", "0.4294967296", "0.1x"])("refuses the cursor %j", (cursor) => {
    expect(() => datapath.flowPage({ cursor, limit: 10 })).toThrow(
      `"${cursor}" is not a cursor of the list of flows`,
    );
  });

  it("ends where a cursor leads beyond the last flow", () => {
    open(1);
    expect(datapath.flowPage({ cursor: "31.4000000000", limit: 10 })).toEqual({ flows: [] });
  });
});

describe("searched", () => {
  it("by vif, service, backend and port, alone and together", () => {
    open(1);
    open(2);
    open(1, 123);
    const all: Parameters<Datapath["hasFlows"]>[0][] = [
      {},
      { vif: LOOPBACK },
      { service: 2 },
      { address: SERVICE },
      { backend: { address: "127.0.0.1", port: 123 } },
      { vif: LOOPBACK, service: 1, backend: { address: "127.0.0.1", port: 53 } },
    ];
    for (const filter of all) expect(datapath.hasFlows(filter), JSON.stringify(filter)).toBe(true);
    const none = [
      { vif: 2 },
      { service: 3 },
      { backend: { address: "127.0.0.2", port: 53 } },
      { backend: { address: "127.0.0.1", port: 54 } },
      { ifindex: 1 },
      { address: "169.254.169.253" },
      { service: 1, backend: { address: "127.0.0.1", port: 123 } },
    ];
    for (const filter of none) {
      expect(datapath.hasFlows(filter), JSON.stringify(filter)).toBe(false);
      expect(datapath.endFlows([filter])).toEqual([0]);
    }
    expect(datapath.endFlows([{ service: 1, backend: { address: "127.0.0.1", port: 53 } }])).toEqual([2]);
    expect(allFlows(datapath).map(([key]) => key.servicePort)).toEqual([123]);
    expect(datapath.flowCount()).toBe(1);
  });

  it("by many filters at once, each with its own count", () => {
    for (const port of range(1, 11)) open(port);
    for (const port of range(1, 6)) open(port, 123);
    const others = range(3, 3003).map((service) => ({ service }));
    const dns = { service: 1, backend: { address: "127.0.0.1", port: 53 } };
    expect(datapath.endFlows([...others, { service: 2 }, dns])).toEqual([...others.map(() => 0), 5, 10]);
    expect(datapath.flowCount()).toBe(0);
    expect(datapath.endFlows([])).toEqual([]);
  });

  it("by nothing that an agent left behind that was killed meanwhile", () => {
    open(1);
    open(1, 123);
    const left = getPinned(join(bpffs.path, "maps", "flow_filters"))!;
    const filter = { vif: 0, service: 1, address: "", ifindex: 0, backend: "", backendPort: 0 };
    updateElement(left, flowFilterLayout.encode(filter), u32Layout.encode({ value: 0 }));
    closeFd(left);
    expect(datapath.endFlows([{ service: 2 }])).toEqual([1]);
    expect(allFlows(datapath).map(([key]) => key.servicePort)).toEqual([53]);
  });
});
