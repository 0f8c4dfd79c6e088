import { readdirSync, readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { parseTables, readLines } from "./detect.ts";
import type { Tables } from "./types.ts";

const FIXTURES = new URL("fixtures/", import.meta.url);
const NAMES = readdirSync(FIXTURES).filter((name) => name.endsWith(".txt"));

function fixture(name: string): string {
  return readFileSync(new URL(`${name}.txt`, FIXTURES), "utf8");
}

/** The tables without the lines that they stand on. */
function withoutLines(tables: Tables) {
  const strip = (rows: Array<{ line: number }>) => rows.map(({ line: _, ...row }) => row);
  return {
    system: tables.system,
    routes: strip(tables.routes),
    neighbours: strip(tables.neighbours),
    addresses: strip(tables.addresses),
  };
}

describe("the tables of the seed", () => {
  it("are read for the Linux guest", () => {
    expect(parseTables(fixture("seed-linux"))).toEqual({
      system: "linux",
      outputs: [
        { format: "ip-route", line: 3 },
        { format: "ip-neigh", line: 8 },
      ],
      routes: [
        { destination: "0.0.0.0/0", gateway: "10.0.1.1", interface: "ens3", line: 3 },
        { destination: "10.0.1.0/24", interface: "ens3", source: "10.0.1.3", line: 4 },
      ],
      neighbours: [
        { address: "10.0.1.2", interface: "ens3", mac: "00:00:5e:00:01:00", state: "reachable", line: 8 },
        { address: "10.0.1.1", interface: "ens3", mac: "00:00:5e:00:01:00", state: "delay", line: 9 },
      ],
      addresses: [],
      notUnderstood: [],
    } satisfies Tables);
  });

  it("are read for the Windows guest", () => {
    const tables = parseTables(fixture("seed-windows"));
    const guest = { interfaceAddress: "10.0.0.10", metric: 271 };
    const loopback = { interfaceAddress: "127.0.0.1", metric: 331 };
    expect(tables).toEqual({
      system: "windows",
      outputs: [
        { format: "windows-route-print", line: 4 },
        { format: "netsh-neighbors", line: 19 },
      ],
      routes: [
        { destination: "0.0.0.0/0", gateway: "10.0.0.1", ...guest, line: 4 },
        { destination: "10.0.0.0/24", ...guest, line: 5 },
        { destination: "10.0.0.10/32", ...guest, local: true, line: 6 },
        { destination: "10.0.0.255/32", ...guest, line: 7 },
        { destination: "127.0.0.0/8", ...loopback, line: 8 },
        { destination: "127.0.0.1/32", ...loopback, local: true, line: 9 },
        { destination: "127.255.255.255/32", ...loopback, line: 10 },
        { destination: "224.0.0.0/4", ...loopback, line: 11 },
        { destination: "224.0.0.0/4", ...guest, line: 12 },
        { destination: "255.255.255.255/32", ...loopback, line: 13 },
        { destination: "255.255.255.255/32", ...guest, line: 14 },
      ],
      neighbours: [
        { address: "10.0.0.1", mac: "00:00:5e:00:01:00", state: "probe", line: 19 },
        { address: "10.0.0.2", mac: "00:00:5e:00:01:00", state: "stale", line: 20 },
        { address: "169.254.169.254", state: "failed", line: 21 },
      ],
      addresses: [],
      notUnderstood: [],
    } satisfies Tables);
  });
});

describe("every fixture", () => {
  it.each(NAMES)("%s is understood to the last line", (name) => {
    const tables = parseTables(fixture(name.replace(".txt", "")));
    expect(tables.notUnderstood).toEqual([]);
    expect(tables.outputs.length).toBeGreaterThan(0);
  });

  it.each(NAMES)(
    "%s reads the same indented, with CRLF, BOM, in colours, as UTF-16 read byte by byte",
    (name) => {
      const text = fixture(name.replace(".txt", ""));
      const plain = withoutLines(parseTables(text));
      expect(withoutLines(parseTables(`\ufeff${text.replaceAll("\n", "\r\n")}`))).toEqual(plain);
      expect(withoutLines(parseTables(text.replace(/^/gm, "\u001b[0m")))).toEqual(plain);
      expect(withoutLines(parseTables([...text].join("\0")))).toEqual(plain);
      // ipconfig and `ip addr` tell headings from values by indentation.
      if (!/ipconfig|ip addr/.test(text))
        expect(withoutLines(parseTables(text.replace(/^/gm, "    ")))).toEqual(plain);
    },
  );
});

describe("what each system prints", () => {
  it.each([
    ["windows-en", "windows"],
    ["windows-de", "windows"],
    ["windows-fr", "windows"],
    ["powershell", "windows"],
    ["powershell-json", "windows"],
    ["powershell-list", "windows"],
    ["linux-json", "linux"],
    ["linux-link-scope", "linux"],
    ["linux-net-tools", "linux"],
    ["macos", "macos"],
    ["freebsd", "bsd"],
  ])("%s is of %s", (name, system) => {
    expect(parseTables(fixture(name)).system).toBe(system);
  });

  it("tells the outputs in a paste, each with its line", () => {
    expect(parseTables(fixture("windows-en")).outputs.map(({ format }) => format)).toEqual([
      "windows-route-print",
      "windows-arp-a",
      "netsh-neighbors",
    ]);
    expect(parseTables(fixture("windows-de")).outputs.map(({ format }) => format)).toEqual([
      "windows-route-print",
      "netsh-neighbors",
      "windows-arp-a",
      "ipconfig",
    ]);
  });

  it("reads German and French as English", () => {
    const [english, german, french] = ["windows-en", "windows-de", "windows-fr"].map((name) =>
      parseTables(fixture(name)),
    );
    const active = (tables: Tables | undefined) =>
      tables?.routes
        .filter((route) => !route.persistent && route.interfaceAddress === "10.0.0.10")
        .slice(0, 3)
        .map(({ line: _, ...route }) => route);
    expect(active(german)).toEqual(active(english));
    expect(active(french)).toEqual(active(english));
    for (const tables of [german, french]) {
      expect(tables?.neighbours.find(({ address }) => address === "169.254.169.254")).toMatchObject({
        interface: "Ethernet",
        interfaceIndex: 12,
        state: "failed",
      });
      expect(tables?.addresses).toMatchObject([
        {
          address: "10.0.0.10",
          prefixLength: 24,
          mac: "00:15:5d:0a:00:0a",
          gateways: ["10.0.0.1"],
          interface: "Ethernet",
        },
      ]);
    }
    // "Erreichbar" is no word that is known; that there is a MAC is what counts.
    expect(german?.neighbours[0]).toMatchObject({ address: "10.0.0.1", mac: "00:00:5e:00:01:00" });
    expect(german?.neighbours[0]).not.toHaveProperty("state");
  });

  it("reads persistent routes apart", () => {
    expect(parseTables(fixture("ec2-windows")).routes.filter(({ persistent }) => persistent)).toEqual([
      { destination: "169.254.169.254/32", gateway: "10.0.1.1", metric: 6, persistent: true, line: 22 },
    ]);
  });

  it("reads PowerShell's three forms alike", () => {
    const table = parseTables(fixture("powershell"));
    for (const name of ["powershell-json", "powershell-list"]) {
      const defaults = parseTables(fixture(name)).routes.find(
        ({ destination }) => destination === "0.0.0.0/0",
      );
      expect(defaults).toMatchObject({
        gateway: "10.0.0.1",
        interface: "Ethernet",
        interfaceIndex: 5,
        metric: 0,
        interfaceMetric: 15,
      });
    }
    expect(table.routes.at(-1)).toEqual({
      destination: "0.0.0.0/0",
      gateway: "10.0.0.1",
      interfaceIndex: 5,
      metric: 0,
      interfaceMetric: 15,
      line: 10,
    });
    expect(table.neighbours.map(({ state }) => state)).toEqual(["permanent", "failed", "stale"]);
    expect(parseTables(fixture("powershell-json")).neighbours).toMatchObject([{ state: "failed" }]);
  });

  it("reads iproute2's JSON as its text", () => {
    const json = withoutLines(parseTables(fixture("linux-json")));
    const text = withoutLines(
      parseTables(
        "default via 10.0.1.1 dev ens3 proto dhcp src 10.0.1.3 metric 100\n10.0.1.0/24 dev ens3 proto kernel scope link src 10.0.1.3 metric 100\n" +
          "10.0.1.1 dev ens3 lladdr 00:00:5e:00:01:00 REACHABLE\n" +
          "2: ens3: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 state UP\n    link/ether 02:00:0a:00:01:03 brd ff:ff:ff:ff:ff:ff\n    inet 10.0.1.3/24 brd 10.0.1.255 scope global ens3\n",
      ),
    );
    expect(json).toEqual(text);
  });

  it("reads macOS' abbreviations, and its routes that stand for neighbours", () => {
    const { routes, neighbours } = parseTables(fixture("macos"));
    expect(routes.map(({ destination }) => destination)).toContain("169.254.0.0/16");
    expect(routes.map(({ destination }) => destination)).toContain("10.0.0.0/24");
    expect(neighbours.slice(0, 2)).toEqual([
      { address: "10.0.0.1", interface: "en0", mac: "00:00:5e:00:01:00", line: 10 },
      { address: "169.254.169.254", interface: "en0", state: "failed", line: 15 },
    ]);
  });

  it.each([
    [
      "ip -s neigh",
      "192.0.2.1 dev eth0 lladdr 02:fc:00:00:00:05  used 635/582/540probes 1 STALE ",
      { neighbours: [{ state: "stale" }] },
    ],
    [
      "ip neigh show dev eth0",
      "169.254.169.254  FAILED",
      { neighbours: [{ address: "169.254.169.254", state: "failed" }] },
    ],
    [
      "ip -o addr",
      "4: eth0    inet 192.0.2.2/24 brd 192.0.2.255 scope global eth0\\       valid_lft forever preferred_lft forever",
      { addresses: [{ address: "192.0.2.2", interface: "eth0", prefixLength: 24 }] },
    ],
    [
      "ip -br addr",
      "eth0@if7             UP             192.0.2.2/24 fd00::2/64 fe80::fc:ff:fe00:1/64 ",
      { addresses: [{ address: "192.0.2.2", interface: "eth0" }] },
    ],
    [
      "ip route get",
      "169.254.169.254 via 192.0.2.1 dev eth0 src 192.0.2.2 uid 0 \n    cache ",
      { routes: [{ destination: "169.254.169.254/32", gateway: "192.0.2.1" }] },
    ],
    [
      "a multipath route",
      "default proto static metric 5 \n\tnexthop via 192.0.2.1 dev eth0 weight 1 \n\tnexthop via 192.0.2.9 dev eth1 weight 1 ",
      {
        routes: [
          { gateway: "192.0.2.1", metric: 5 },
          { gateway: "192.0.2.9", interface: "eth1", metric: 5 },
        ],
      },
    ],
    [
      "a refusing route",
      "unreachable 169.254.0.0/16 metric 1",
      { routes: [{ destination: "169.254.0.0/16", refuses: "unreachable" }] },
    ],
    [
      "route -n refusing",
      "169.254.0.0     -               255.255.0.0     !     0      -        0 -",
      { routes: [{ destination: "169.254.0.0/16", refuses: "unreachable" }] },
    ],
    [
      "Windows XP",
      "       10.0.0.0    255.255.255.0        10.0.0.10       10.0.0.10       20",
      { routes: [{ destination: "10.0.0.0/24", interfaceAddress: "10.0.0.10" }] },
    ],
    [
      "old Get-NetNeighbor",
      "12      10.0.0.1      00005E000100      Reachable   ActiveStore",
      { neighbours: [{ mac: "00:00:5e:00:01:00", state: "reachable" }] },
    ],
    [
      "OpenBSD",
      "default            10.0.0.1           UGS        5       96     -     8 vio0",
      { routes: [{ destination: "0.0.0.0/0", gateway: "10.0.0.1", interface: "vio0" }] },
    ],
  ])("reads %s", (_name, text, expected) => {
    const tables = parseTables(text);
    expect(tables).toMatchObject(expected);
    expect(tables.notUnderstood).toEqual([]);
  });
});

describe("lines that a narrow terminal wrapped", () => {
  it.each([
    ["within an address", "10.0.1.0/24 dev ens3  proto kernel  scope link  src 10.0.1.\n3"],
    ["between words", "10.0.1.0/24 dev ens3  proto kernel  scope link\nsrc 10.0.1.3"],
    ["twice", "10.0.1.0/24 dev en\ns3  proto kernel  scope li\nnk  src 10.0.1.3"],
  ])("are joined: ip route, %s", (_where, text) => {
    const tables = parseTables(`default via 10.0.1.1 dev ens3\n${text}\n`);
    expect(tables.routes[1]).toEqual({
      destination: "10.0.1.0/24",
      interface: "ens3",
      source: "10.0.1.3",
      line: 2,
    });
    expect(tables.routes.length).toBe(2);
    expect(tables.notUnderstood).toEqual([]);
  });

  it("are joined: ip neigh, route print, JSON", () => {
    expect(parseTables("10.0.1.1 dev ens3 lladdr 00:00:5e:00:01:00 REACH\nABLE").neighbours).toMatchObject([
      { state: "reachable" },
    ]);
    expect(
      parseTables("    10.0.0.0    255.255.255.0         On-link\n    10.0.0.10    271").routes,
    ).toMatchObject([{ destination: "10.0.0.0/24", metric: 271 }]);
    expect(parseTables('[{"dst":"default","gate\nway":"10.0.1.1","dev":"ens3"}]').routes).toMatchObject([
      { gateway: "10.0.1.1" },
    ]);
  });
});

describe("what was not understood", () => {
  it.each([
    "10.0.0.1 is the server",
    "10.0.0.1 server",
    "bash: ip: command not found",
    "default via inet6 fe80::1 dev eth0",
    "10.0.1.0/24 dev ens3 frobnicate",
    "10.0.0.0 255.0.255.0 10.0.0.1 10.0.0.10 271",
    '[{"dst":"default"',
    '[{"something":"else"}]',
    '[{"dst":"default","via":{"family":"inet6","host":"fe80::1"},"dev":"eth0"}]',
    "10.0.0.1 is at fe80::1, perhaps",
    "300.1.1.1 dev eth0 FAILED",
  ])("is told: %s", (line) => {
    const { notUnderstood } = parseTables(`\n${line}\n`);
    expect(notUnderstood).toEqual([{ line: 2, text: line }]);
  });

  it("is told with its line among rows", () => {
    expect(
      parseTables("default via 10.0.1.1 dev ens3\n10.9.9.9 what is this\n10.0.1.0/24 dev ens3\n")
        .notUnderstood,
    ).toEqual([{ line: 2, text: "10.9.9.9 what is this" }]);
  });

  it("knows no system in tables of two", () => {
    expect(parseTables(fixture("seed-linux") + fixture("seed-windows")).system).toBeUndefined();
  });
});

describe("any text", () => {
  /** Pieces of real outputs, mangled: what gets deepest into the readers. */
  const pieces = fc.oneof(
    fc.constantFrom(...NAMES.flatMap((name) => fixture(name.replace(".txt", "")).split("\n"))),
    fc.string({ unit: "binary" }),
    fc.constantFrom("[", "{", '"', "nexthop via", "default", "169.254", "\t", "dst", ": ", "10.0.0.1/99"),
  );
  const texts = fc
    .array(pieces, { maxLength: 12 })
    .chain((parts) => fc.constantFrom("\n", "\r\n", " ", "").map((joint) => parts.join(joint)));

  it("never throws, and each line is a row, a heading, IPv6, a prompt, blank, or told", () => {
    fc.assert(
      fc.property(texts, (text) => {
        const { lines, uses } = readLines(text);
        expect(uses.length).toBe(lines.length);
        const told = parseTables(text).notUnderstood.map(({ line }) => line);
        expect(told).toEqual(uses.flatMap((use, index) => (use === "unknown" ? [index + 1] : [])));
      }),
    );
  });

  it("loses no line with an address: what is no row is told", () => {
    const octet = fc.nat({ max: 255 });
    const garbage = fc
      .tuple(octet, octet, fc.stringMatching(/^[a-z]{3,8}[?!]$/))
      .map(([a, b, word]) => `10.1.${a}.${b} ${word} ${word}`);
    const row = octet.map((c) => `10.2.${c}.0/24 dev eth0 scope link`);
    fc.assert(
      fc.property(fc.array(fc.oneof(garbage, row)), (all) => {
        const { routes, notUnderstood } = parseTables(all.join("\n"));
        expect(routes.map(({ line }) => line)).toEqual(
          all.flatMap((line, index) => (line.startsWith("10.2.") ? [index + 1] : [])),
        );
        expect(notUnderstood.map(({ text }) => text)).toEqual(all.filter((line) => line.startsWith("10.1.")));
      }),
    );
  });
});
