import { describe, expect, it } from "vitest";
import { parseConfig } from "../config/load.ts";
import type { Flow, FlowKey, FlowPage } from "../datapath/types.ts";
import { type FlowWish, listFlows, MAX_PAGES } from "./flows.ts";

const config = parseConfig(
  JSON.stringify({
    services: [
      { name: "web", address: "169.254.169.254", port: 80, backends: ["127.0.0.1:8080"] },
      {
        name: "dns",
        address: "169.254.169.253",
        port: 53,
        protocol: ["udp", "tcp"],
        backends: ["192.0.2.1:53"],
      },
    ],
    interfaces: [{ name: "tap*" }],
  }),
  "test",
);
if (!config.ok) throw new Error(JSON.stringify(config.errors));
const { services } = config.config;

const SECOND = 1_000_000_000n;

/** A flow of 10.0.0.N to the web service, opened 100 s ago. */
function flow(n: number, key: Partial<FlowKey> = {}, changes: Partial<Flow> = {}): [FlowKey, Flow] {
  const now = process.hrtime.bigint();
  return [
    {
      vif: 5,
      guest: `10.0.0.${n}`,
      guestPort: 40000 + n,
      service: "169.254.169.254",
      servicePort: 80,
      protocol: "tcp",
      ...key,
    },
    {
      opened: now - 100n * SECOND,
      lastSeen: now - SECOND / 2n,
      framesOut: 6n,
      bytesOut: 600n,
      framesIn: 5n,
      bytesIn: 5000n,
      kind: "host-local",
      backend: "127.0.0.1",
      backendPort: 8080,
      nat: "169.254.64.2",
      natPort: 40000 + n,
      ifindex: 0,
      service: 1,
      guestMac: "02:00:00:00:00:01",
      serviceMac: "00:00:5e:00:01:00",
      state: "established",
      fins: 0,
      opener: "guest",
      responseHopLimit: 64,
      ...changes,
    },
  ];
}

/** A datapath that gives these flows in pages; a cursor is a place in the list. `pages` counts those that were asked for. */
function fakePages(all: ReadonlyArray<[FlowKey, Flow]>) {
  const fake = {
    pages: 0,
    flowPage({ cursor, limit }: { cursor?: string | undefined; limit: number }): FlowPage {
      fake.pages += 1;
      const from = Number(cursor ?? 0);
      const flows = all.slice(from, from + limit);
      return { flows, ...(from + limit < all.length && { next: String(from + limit) }) };
    },
  };
  return fake;
}

const nameOf = (ifindex: number) => (ifindex === 5 ? "tap0" : undefined);

async function guests(all: ReadonlyArray<[FlowKey, Flow]>, wish: FlowWish): Promise<string[]> {
  const { flows } = await listFlows({ datapath: fakePages(all), services, nameOf }, { ...wish, limit: 100 });
  return flows.map(({ guest }) => guest);
}

describe("the list of flows", () => {
  it("tells a flow in the words of the configuration, with its ages", async () => {
    const datapath = fakePages([
      flow(1),
      flow(2, { vif: 9, servicePort: 81 }),
      flow(3, {}, { opener: "backend" }),
    ]);
    const { flows, next } = await listFlows({ datapath, services, nameOf }, { limit: 100 });
    expect(next).toBeUndefined();
    expect(flows[0]).toMatchObject({
      interface: "tap0",
      protocol: "tcp",
      guest: "10.0.0.1",
      guestPort: 40001,
      service: "169.254.169.254",
      servicePort: 80,
      serviceName: "web",
      kind: "host-local",
      backend: "127.0.0.1",
      backendPort: 8080,
      source: "169.254.64.2",
      sourcePort: 40001,
      state: "established",
      opener: "guest",
      bytesOut: 600n,
      bytesIn: 5000n,
    });
    expect(flows[0]?.age).toBeGreaterThanOrEqual(100);
    expect(flows[0]?.idle).toBeGreaterThanOrEqual(0.5);
    expect(flows[0]?.idle).toBeLessThan(flows[0]?.age ?? 0);
    expect(flows[1]).toMatchObject({ interface: "ifindex 9" });
    expect(flows[1]).not.toHaveProperty("serviceName");
    expect(flows[2]).toMatchObject({ opener: "host" });
    expect(flows[2]).not.toHaveProperty("serviceName");
  });

  it("is never of an age below zero: a frame may come while it is read", async () => {
    const later = process.hrtime.bigint() + 3600n * SECOND;
    const datapath = fakePages([flow(1, {}, { lastSeen: later, opened: later })]);
    const { flows } = await listFlows({ datapath, services, nameOf }, { limit: 1 });
    expect(flows[0]).toMatchObject({ age: 0, idle: 0 });
  });

  const all = [
    flow(1),
    flow(2, { vif: 6 }),
    flow(
      3,
      { service: "169.254.169.253", servicePort: 53, protocol: "udp" },
      { backend: "192.0.2.1", backendPort: 53 },
    ),
    flow(
      4,
      { service: "169.254.169.253", servicePort: 53, protocol: "tcp" },
      { backend: "192.0.2.1", backendPort: 54 },
    ),
    flow(5, { protocol: "icmp" }, { state: "opening", opener: "backend" }),
  ];
  it.each<[FlowWish, number[]]>([
    [{}, [1, 2, 3, 4, 5]],
    [{ vif: 6 }, [2]],
    [{ service: "dns" }, [3, 4]],
    [{ service: "dns", protocol: "udp" }, [3]],
    [{ service: "web" }, [1, 2]],
    [{ guest: "10.0.0.4" }, [4]],
    [{ backend: { address: "192.0.2.1" } }, [3, 4]],
    [{ backend: { address: "192.0.2.1", port: 54 } }, [4]],
    [{ protocol: "icmp" }, [5]],
    [{ state: "opening" }, [5]],
    [{ state: "closing" }, []],
  ])("has of %j those of guests %j", async (wish, expected) => {
    expect(await guests(all, wish)).toEqual(expected.map((n) => `10.0.0.${n}`));
  });

  it("comes in pages that together have every flow once", async () => {
    const many = Array.from({ length: 95 }, (_, index) => flow(index));
    const datapath = fakePages(many);
    const seen: string[] = [];
    let cursor: string | undefined;
    do {
      const page = await listFlows({ datapath, services, nameOf }, { cursor, limit: 10 });
      expect(page.flows.length).toBeLessThanOrEqual(10);
      seen.push(...page.flows.map(({ guest }) => guest));
      cursor = page.next;
    } while (cursor !== undefined);
    expect(seen).toEqual(many.map(([{ guest }]) => guest));
    expect(datapath.pages).toBe(10);
  });

  it("looks at no more than some pages for one, makes progress, and finds what is rare", async () => {
    const many = Array.from({ length: 1000 }, (_, index) =>
      flow(index % 250, index === 777 ? { vif: 6 } : {}),
    );
    const datapath = fakePages(many);
    const first = await listFlows({ datapath, services, nameOf }, { vif: 6, limit: 10 });
    expect(first).toEqual({ flows: [], next: String(10 * MAX_PAGES) });
    expect(datapath.pages).toBe(MAX_PAGES);
    const found: number[] = [];
    for (let cursor = first.next; cursor !== undefined; ) {
      const page = await listFlows({ datapath, services, nameOf }, { vif: 6, limit: 10, cursor });
      found.push(...page.flows.map(({ guestPort }) => guestPort));
      cursor = page.next;
    }
    expect(found).toEqual([40000 + (777 % 250)]);
  });
});
