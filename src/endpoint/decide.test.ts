import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { decide } from "./decide.ts";
import { parseTables } from "./detect.ts";
import { prefix } from "./formats/values.ts";
import type { Tables } from "./types.ts";

const SERVICE = "169.254.169.254";

function fixture(name: string): Tables {
  return parseTables(readFileSync(new URL(`fixtures/${name}.txt`, import.meta.url), "utf8"));
}

describe("the guests of the seed", () => {
  it("Linux: through the default gateway", () => {
    expect(decide(fixture("seed-linux"), SERVICE)).toMatchObject({
      way: "gateway",
      rule: "longest-prefix",
      nextHop: "10.0.1.1",
      connected: true,
      via: { interface: "ens3" },
      source: "10.0.1.3",
    });
  });

  it("Windows: on-link, though the default route is the only one that holds it", () => {
    const decision = decide(fixture("seed-windows"), SERVICE);
    expect(decision).toMatchObject({
      way: "on-link",
      rule: "rfc3927",
      nextHop: SERVICE,
      via: { interfaceAddress: "10.0.0.10" },
      source: "10.0.0.10",
    });
    expect(decision?.reason).toContain("RFC 3927 s. 2.6.2");
  });
});

/** Rows of `route print` for 10.0.0.10/24, with more rows. */
function windows(...rows: string[]): Tables {
  return parseTables(
    [
      "0.0.0.0          0.0.0.0         10.0.0.1        10.0.0.10    271",
      "10.0.0.0    255.255.255.0         On-link         10.0.0.10    271",
      "127.0.0.0        255.0.0.0         On-link         127.0.0.1    331",
      ...rows,
    ].join("\n"),
  );
}

describe("Windows", () => {
  it.each([
    ["a host route", "169.254.169.254  255.255.255.255  10.0.0.1  10.0.0.10  16"],
    ["a route to part of it", "169.254.128.0  255.255.128.0  10.0.0.1  10.0.0.10  16"],
    ["a route to all of it", "169.254.0.0  255.255.0.0  10.0.0.1  10.0.0.10  16"],
  ])("goes by %s through the gateway rather than by its rule", (_what, row) => {
    expect(decide(windows(row), SERVICE)).toMatchObject({
      way: "gateway",
      rule: "longest-prefix",
      nextHop: "10.0.0.1",
    });
  });

  it("keeps to its rule against a shorter prefix than 169.254/16", () => {
    expect(decide(windows("169.0.0.0  255.0.0.0  10.0.0.1  10.0.0.10  1"), SERVICE)).toMatchObject({
      rule: "rfc3927",
    });
  });

  it("keeps to its rule only for 169.254/16", () => {
    expect(decide(windows(), "192.0.2.1")).toMatchObject({ way: "gateway", rule: "longest-prefix" });
  });

  it("goes by the route of an address that it gave itself", () => {
    expect(decide(windows("169.254.0.0  255.255.0.0  On-link  169.254.7.7  281"), SERVICE)).toMatchObject({
      way: "on-link",
      rule: "on-link-route",
      source: "169.254.7.7",
    });
  });

  it("does not use a route that is only saved, and says so", () => {
    const decision = decide(windows("169.254.169.254  255.255.255.255  10.9.9.1  1"), SERVICE);
    expect(decision).toMatchObject({ rule: "rfc3927" });
    expect(decision?.notes).toEqual([expect.stringContaining("is saved (line 4) but not active")]);
  });

  it("adds the interface's metric to the route's", () => {
    const tables = parseTables(
      ["5  0.0.0.0/0  10.0.0.1  0 75 ActiveStore", "7  0.0.0.0/0  10.0.7.1  10 15 ActiveStore"].join("\n"),
    );
    expect(decide(tables, "192.0.2.1")).toMatchObject({ nextHop: "10.0.7.1", via: { interfaceIndex: 7 } });
    // Its rule takes the interface that the default route would.
    expect(decide(tables, SERVICE)).toMatchObject({ rule: "rfc3927", via: { interfaceIndex: 7 } });
    expect(decide(tables, SERVICE)?.notes).toEqual([expect.stringContaining("interface 5, interface 7")]);
  });

  it("asks on the interface whose neighbour table has the address", () => {
    const tables = parseTables(
      [
        "5  0.0.0.0/0  10.0.0.1  0 15 ActiveStore",
        "7  10.0.7.0/24  0.0.0.0  0 15 ActiveStore",
        "",
        "7  169.254.169.254  00-00-00-00-00-00  Unreachable  ActiveStore",
      ].join("\n"),
    );
    expect(decide(tables, SERVICE)).toMatchObject({ rule: "rfc3927", via: { interfaceIndex: 7 } });
  });

  it("finds the next hop of an image from another subnet on no network", () => {
    const decision = decide(fixture("ec2-windows"), SERVICE);
    expect(decision).toMatchObject({ way: "gateway", nextHop: "10.0.1.1", connected: false });
    expect(decision?.reason).toContain(
      "10.0.1.1 lies on no network that 10.0.2.8 is connected to (10.0.2.0/24)",
    );
  });

  it("without an address sends nothing", () => {
    expect(decide(parseTables("127.0.0.0  255.0.0.0  On-link  127.0.0.1  331"), SERVICE)).toMatchObject({
      way: "nowhere",
      rule: "no-address",
    });
  });

  it("is judged by ipconfig alone, with a note", () => {
    const decision = decide(fixture("windows-apipa"), SERVICE);
    expect(decision).toMatchObject({ way: "on-link", source: "169.254.12.7" });
    expect(decision?.notes).toEqual([
      expect.stringContaining("no routing table"),
      expect.stringContaining("gave itself"),
    ]);
  });
});

describe("Linux", () => {
  const ROUTES = "default via 10.0.1.1 dev eth0\n10.0.1.0/24 dev eth0 scope link src 10.0.1.3\n";

  it("asks by ARP where a link-scope route says so", () => {
    expect(decide(fixture("linux-link-scope"), SERVICE)).toMatchObject({
      way: "on-link",
      rule: "on-link-route",
      source: "10.0.1.3",
      route: { destination: "169.254.0.0/16" },
    });
  });

  it.each<[string, string, object]>([
    [
      "the longest prefix",
      "169.254.169.254 via 10.0.1.9 dev eth0 metric 999\n169.254.0.0/16 dev eth0",
      { nextHop: "10.0.1.9" },
    ],
    [
      "then the lowest metric",
      "169.254.0.0/16 dev eth0 metric 1002\n169.254.0.0/16 dev eth1 metric 1001",
      { via: { interface: "eth1" } },
    ],
    [
      "an address of its own",
      "local 169.254.169.254 dev lo table local scope host",
      { way: "nowhere", rule: "own-address" },
    ],
    ["a refusing route", "blackhole 169.254.0.0/16", { way: "nowhere", rule: "refusing-route" }],
    ["no dead route", "169.254.0.0/16 dev eth1 dead linkdown", { nextHop: "10.0.1.1" }],
    ["no route of another table", "169.254.0.0/16 dev eth1 table 200", { nextHop: "10.0.1.1" }],
  ])("goes by %s", (_rule, more, expected) => {
    expect(decide(parseTables(ROUTES + more), SERVICE)).toMatchObject(expected);
  });

  it("says what it leaves out of other tables", () => {
    expect(decide(parseTables(`${ROUTES}169.254.0.0/16 dev eth1 table 200`), SERVICE)?.notes).toEqual([
      expect.stringContaining("table 200"),
    ]);
  });

  it("without a default route sends nothing", () => {
    expect(decide(parseTables("10.0.1.0/24 dev eth0 scope link src 10.0.1.3"), SERVICE)).toMatchObject({
      way: "nowhere",
      rule: "no-route",
    });
  });

  it("without an address sends nothing, whatever its routes", () => {
    const tables = parseTables(
      "169.254.0.0/16 dev eth0\n\n1: lo: <LOOPBACK,UP> mtu 65536\n    inet 127.0.0.1/8 scope host lo\n2: eth0: <BROADCAST> mtu 1500\n",
    );
    expect(decide(tables, SERVICE)).toMatchObject({ way: "nowhere", rule: "no-address" });
  });

  it("does not tell whether the gateway is connected where the tables do not", () => {
    expect(decide(parseTables("default via 10.0.1.1 dev eth0"), SERVICE)).not.toHaveProperty("connected");
  });
});

describe("macOS and BSD", () => {
  it("macOS asks by ARP, by its own route", () => {
    expect(decide(fixture("macos"), SERVICE)).toMatchObject({
      rule: "on-link-route",
      via: { interface: "en0" },
    });
  });

  it("macOS keeps routes with an interface scope for bound sockets", () => {
    expect(decide(fixture("macos"), "192.0.2.1")).toMatchObject({ nextHop: "10.0.0.1" });
  });

  it("FreeBSD uses its gateway", () => {
    expect(decide(fixture("freebsd"), SERVICE)).toMatchObject({
      way: "gateway",
      nextHop: "10.0.1.1",
      connected: true,
    });
  });
});

describe("without a routing table", () => {
  it("goes by what the guest asked for", () => {
    expect(decide(parseTables("169.254.169.254 00-00-00-00-00-00 Unreachable"), SERVICE)).toMatchObject({
      way: "on-link",
      rule: "neighbour-table",
    });
  });

  it("decides nothing where it has not asked", () => {
    expect(decide(parseTables("10.0.0.1 00-00-5e-00-01-00 Reachable"), SERVICE)).toBeUndefined();
  });
});

describe("any Linux table", () => {
  it("decides for the longest prefix that holds the destination, with the lowest metric among those", () => {
    // Prefixes of the service address hold it; those of 10.254.169.254 do not, unless they are of no length.
    const route = fc
      .record({
        of: fc.constantFrom(SERVICE, "10.254.169.254"),
        length: fc.nat({ max: 32 }),
        metric: fc.nat({ max: 5 }),
      })
      .map(({ of, length, metric }) => ({ of, length, metric, destination: prefix(of, length) }));
    fc.assert(
      fc.property(fc.array(route, { minLength: 1, maxLength: 8 }), (routes) => {
        const text = routes.map(
          ({ destination, metric }) => `${destination} dev eth${metric} metric ${metric}`,
        );
        const decision = decide(parseTables(text.join("\n")), SERVICE);
        const [best] = routes
          .filter(({ of, length }) => of === SERVICE || length === 0)
          .sort((a, b) => b.length - a.length || a.metric - b.metric);
        expect(decision?.route?.destination).toBe(best?.destination);
        expect(decision?.route?.metric).toBe(best?.metric);
        expect(decision?.rule).toBe(best === undefined ? "no-route" : "on-link-route");
      }),
    );
  });
});
