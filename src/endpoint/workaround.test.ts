import { describe, expect, it } from "vitest";
import { parse } from "yaml";
import { parseHex } from "../packet/hex.ts";
import { decodeClasslessRoutes } from "./classless-routes.ts";
import { decide } from "./decide.ts";
import { parseTables } from "./detect.ts";
import {
  formatWorkaround,
  WORKAROUND_TARGETS,
  type WorkaroundPart,
  type WorkaroundRequest,
  workaround,
} from "./workaround.ts";

const TO = ["169.254.169.254", "169.254.169.253"];
const GATEWAY = "10.0.0.1";

function ask(request: Partial<WorkaroundRequest> & Pick<WorkaroundRequest, "target">): WorkaroundPart[] {
  const needsInterface = ["netplan", "networkd", "networkmanager"].includes(request.target);
  return workaround({ to: TO, gateway: GATEWAY, ...(needsInterface && { interface: "eth0" }), ...request });
}

function lines(parts: readonly WorkaroundPart[], use: WorkaroundPart["use"]): string[] {
  return parts.filter((part) => part.use === use).flatMap((part) => part.lines);
}

describe.each(WORKAROUND_TARGETS)("for %s", (target) => {
  it("names every address and the gateway, and how to take it back", () => {
    const text = formatWorkaround(target, ask({ target }));
    for (const address of [...TO, GATEWAY]) expect(text).toContain(address);
    expect(text).toMatch(/undo/i);
  });
  it("says a thing once for an address given twice", () => {
    expect(ask({ target, to: [TO[0]!, TO[0]!] })).toEqual(ask({ target, to: [TO[0]!] }));
  });
  it("is a text whose comments are the target's own", () => {
    const comment = target === "windows" ? "rem " : "# ";
    const parts = ask({ target });
    const commented = formatWorkaround(target, parts)
      .split("\n")
      .filter((line) => line.startsWith(comment));
    expect(commented).toHaveLength(parts.flatMap(({ notes }) => notes).length);
  });
});

describe("windows", () => {
  // learn.microsoft.com, Windows commands, "route": route [/f] [/p] [command [destination] [mask netmask] [gateway]
  // [metric n]] [if interface]; `route /?` writes -p for /p.
  const ADDRESS = String.raw`\d+\.\d+\.\d+\.\d+`;
  const ROUTE = new RegExp(
    `^route( -p)? (add|delete) ${ADDRESS} mask ${ADDRESS} ${ADDRESS}( metric \\d+)?( if (0x[\\da-f]+|\\d+))?$`,
  );

  it.each([undefined, "12"])("keeps to the syntax of route, interface %s", (number) => {
    const parts = ask({ target: "windows", ...(number !== undefined && { interface: number }) });
    for (const line of parts.flatMap((part) => part.lines)) expect(line).toMatch(ROUTE);
    const at = number === undefined ? "" : ` if ${number}`;
    const route = `169.254.169.254 mask 255.255.255.255 10.0.0.1`;
    expect(lines(parts, "now")[0]).toBe(`route add ${route}${at}`);
    expect(lines(parts, "lasting")[0]).toBe(`route -p add ${route}${at}`);
    expect(lines(parts, "undo")[0]).toBe(`route delete ${route}`);
  });
});

describe("windows, taken back by explain's own parser", () => {
  // The guest of the problem, as `route print -4` shows it.
  const ROWS = [
    ["0.0.0.0", "0.0.0.0", "10.0.0.1", "10.0.0.10", "271"],
    ["10.0.0.0", "255.255.255.0", "On-link", "10.0.0.10", "271"],
    ["10.0.0.10", "255.255.255.255", "On-link", "10.0.0.10", "271"],
    ["169.254.0.0", "255.255.0.0", "On-link", "10.0.0.10", "271"],
    ["127.0.0.0", "255.0.0.0", "On-link", "127.0.0.1", "331"],
  ];
  const row = (cells: string[]) => cells.map((cell) => cell.padStart(17)).join("");
  const print = (rows: string[][], saved: string[][] = []) =>
    [
      ...["IPv4 Route Table", "=".repeat(75), "Active Routes:"],
      "Network Destination        Netmask          Gateway       Interface  Metric",
      ...[...rows.map(row), "=".repeat(75), "Persistent Routes:"],
      ...(saved.length === 0
        ? ["  None"]
        : ["  Network Address          Netmask  Gateway Address  Metric", ...saved.map(row)]),
    ].join("\r\n");
  const wayTo = (text: string, address: string) => decide(parseTables(text), address);

  it("without the route the guest asks by ARP", () => {
    for (const address of TO) expect(wayTo(print(ROWS), address)?.way).toBe("on-link");
  });

  it.each(["now", "lasting"] as const)(
    "after the commands of %s its packets go through the gateway",
    (use) => {
      // What the command says is what the table then has: route takes the metric of the interface where it is given none.
      const added = lines(ask({ target: "windows" }), use).map((line) => {
        const [, destination = "", mask = "", gateway = ""] = /add (\S+) mask (\S+) (\S+)/.exec(line) ?? [];
        return {
          active: [destination, mask, gateway, "10.0.0.10", "16"],
          saved: [destination, mask, gateway, "1"],
        };
      });
      const saved = use === "lasting" ? added.map((one) => one.saved) : [];
      const text = print([...ROWS, ...added.map(({ active }) => active)], saved);
      for (const address of TO) {
        expect(wayTo(text, address)).toMatchObject({ way: "gateway", nextHop: GATEWAY, connected: true });
      }
      expect(wayTo(text, "169.254.7.7")?.way).toBe("on-link");
    },
  );
});

describe("linux, taken back by explain's own parser", () => {
  it("after the commands its packets go through the gateway, though 169.254.0.0/16 is on-link", () => {
    const on =
      "10.0.0.0/24 dev eth0 proto kernel scope link src 10.0.0.10\n169.254.0.0/16 dev eth0 scope link metric 1000";
    const added = lines(ask({ target: "linux", interface: "eth0" }), "now").map(
      (line) => /replace (\S+)\/32 (via .*)$/.exec(line)?.slice(1).join(" ") ?? line,
    );
    for (const address of TO) {
      expect(decide(parseTables(on), address)?.way).toBe("on-link");
      expect(decide(parseTables([on, ...added].join("\n")), address)).toMatchObject({
        way: "gateway",
        nextHop: GATEWAY,
      });
    }
  });
});

describe("powershell", () => {
  // learn.microsoft.com, module NetTCPIP: New-NetRoute [-DestinationPrefix] <String> (-InterfaceAlias <String> |
  // -InterfaceIndex <UInt32>) [-NextHop <String>] [-PolicyStore <String>] ..., where PersistentStore "cannot be used" and
  // both stores are the default; Remove-NetRoute with -DestinationPrefix, -NextHop, -PolicyStore, -Confirm;
  // Find-NetRoute -RemoteIPAddress <String> gives two objects that both have InterfaceIndex.
  const NEW =
    /^New-NetRoute -DestinationPrefix "[\d.]+\/32" -NextHop "[\d.]+" (-InterfaceAlias '([^']|'')+'|-InterfaceIndex \(Find-NetRoute -RemoteIPAddress "[\d.]+"\)\[0\]\.InterfaceIndex)( -PolicyStore ActiveStore)?$/;
  const REMOVE =
    /^Remove-NetRoute -DestinationPrefix "[\d.]+\/32" -NextHop "[\d.]+" -PolicyStore (ActiveStore|PersistentStore) -Confirm:\$false -ErrorAction SilentlyContinue$/;

  it.each([undefined, "Ethernet 2", "vEthernet (Bob's)"])(
    "keeps to the syntax of the cmdlets, interface %s",
    (alias) => {
      const parts = ask({ target: "powershell", ...(alias !== undefined && { interface: alias }) });
      for (const line of lines(parts, "now")) expect(line).toMatch(NEW);
      for (const line of lines(parts, "lasting")) expect(line).toMatch(NEW);
      for (const line of lines(parts, "undo")) expect(line).toMatch(REMOVE);
      for (const line of lines(parts, "now")) expect(line).toContain(" -PolicyStore ActiveStore");
      for (const line of lines(parts, "lasting")) expect(line).not.toContain("-PolicyStore");
      expect(lines(parts, "undo")).toHaveLength(2 * TO.length);
    },
  );
  it("quotes an alias", () => {
    const [line] = lines(ask({ target: "powershell", interface: `a'; "$x" #` }), "now");
    expect(line).toContain(`-InterfaceAlias 'a''; "$x" #' `);
  });
});

describe("dhcp", () => {
  const routes = [...TO.map((address) => `${address}/32`), "0.0.0.0/0"].map((destination) => ({
    destination,
    gateway: GATEWAY,
  }));
  const decode = (hex: string) => {
    const bytes = parseHex(hex);
    return bytes.ok ? decodeClasslessRoutes(bytes.value) : bytes.error.message;
  };

  it("is the example of RFC 3442's form for one address, then the default route", () => {
    const parts = ask({ target: "dhcp", to: ["169.254.169.254"], gateway: "10.0.1.1" });
    expect(lines(parts, "hex")).toEqual(["20:a9:fe:a9:fe:0a:00:01:01:00:0a:00:01:01"]);
  });
  it("says the same in every form, for both options", () => {
    const parts = ask({ target: "dhcp" });
    expect(decode(lines(parts, "hex").join(""))).toEqual({ ok: true, routes });

    const dnsmasq = lines(parts, "dnsmasq").map((line) => /^dhcp-option=(\d+),(.*)$/.exec(line)?.slice(1));
    const list = routes.flatMap(({ destination, gateway }) => [destination, gateway]).join(",");
    expect(dnsmasq).toEqual([
      ["121", list],
      ["249", list],
    ]);

    const kea = JSON.parse(`{${lines(parts, "kea").join("\n")}}`)["option-data"];
    expect(kea.map(({ code }: { code: number }) => code)).toEqual([121, 249]);
    for (const option of kea) {
      expect(option["csv-format"]).toBe(false);
      expect(decode(option.data)).toEqual({ ok: true, routes });
    }

    const isc = lines(parts, "isc-dhcpd");
    const codes = isc.flatMap(
      (line) => /^option (\S+) code (\d+) = array of unsigned integer 8;$/.exec(line)?.slice(1, 3) ?? [],
    );
    expect(codes).toEqual(["classless-routes", "121", "ms-classless-routes", "249"]);
    for (const name of ["classless-routes", "ms-classless-routes"]) {
      const values = isc.flatMap(
        (line) => new RegExp(`^option ${name} ([\\d, ]+);$`).exec(line)?.[1]?.split(", ") ?? [],
      );
      expect(decodeClasslessRoutes(Uint8Array.from(values, Number))).toEqual({ ok: true, routes });
    }
  });
});

describe("files", () => {
  it("netplan: a YAML document with a route for each address", () => {
    const route = { via: GATEWAY };
    expect(parse(lines(ask({ target: "netplan" }), "lasting").join("\n"))).toEqual({
      network: {
        version: 2,
        ethernets: { eth0: { routes: TO.map((address) => ({ to: `${address}/32`, ...route })) } },
      },
    });
  });
  it("networkd: a Route section for each address", () => {
    expect(lines(ask({ target: "networkd", to: [TO[0]!] }), "lasting")).toEqual([
      "[Route]",
      "Destination=169.254.169.254/32",
      "Gateway=10.0.0.1",
    ]);
  });
  it("cni: JSON that the plugin's ipam takes", () => {
    expect(JSON.parse(`{${lines(ask({ target: "cni" }), "lasting").join("\n")}}`)).toEqual({
      ipam: { routes: TO.map((address) => ({ dst: `${address}/32`, gw: GATEWAY })) },
    });
  });
});

describe("what cannot be", () => {
  it.each<[Partial<WorkaroundRequest>, RegExp]>([
    [{ to: [] }, /no service address is given; give one/],
    [{ to: ["169.254.169"] }, /"169\.254\.169" is not an IPv4 address; give a service address/],
    [{ to: ["10.0.0.7"] }, /10\.0\.0\.7 is not in 169\.254\.0\.0\/16: .* leave it out/],
    [{ gateway: "gw" }, /"gw" is not an IPv4 address; give the guest's gateway/],
    [{ gateway: "169.254.169.254" }, /cannot be its own gateway/],
    [{ target: "netplan" }, /netplan keeps routes by interface: give the guest's \(--interface eth0\)/],
    [{ target: "networkd" }, /--interface/],
    [{ target: "networkmanager" }, /--interface/],
    [{ target: "dhcp", interface: "eth0" }, /dhcp takes no interface: .* leave it out/],
    [{ target: "windows", interface: "Ethernet" }, /"Ethernet" is not an interface number; .* powershell/],
    [{ target: "linux", interface: "eth0; reboot" }, /no name of a Linux interface/],
    [{ target: "powershell", interface: "a\nb" }, /no interface alias/],
  ])("%j", (wrong, message) => {
    const request: WorkaroundRequest = { to: TO, gateway: GATEWAY, target: "linux", ...wrong };
    expect(() => workaround(request)).toThrow(RangeError);
    expect(() => workaround(request)).toThrow(message);
  });
});
