import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { parseTables } from "./detect.ts";
import { type Explanation, explain } from "./explain.ts";

function fixture(name: string): string {
  return readFileSync(new URL(`fixtures/${name}.txt`, import.meta.url), "utf8");
}

/** The explanation of a text, which must have one. */
function explained(text: string, to?: string): Explanation {
  const result = explain(parseTables(text), to);
  if (!result.ok) throw new Error(result.error);
  return result.explanation;
}

const commands = ({ mends }: Explanation) => mends.flatMap((mend) => mend.commands);

describe("the guests of the seed", () => {
  it("Linux: reachable", () => {
    const { reachable, sentence, mends } = explained(fixture("seed-linux"));
    expect(sentence).toBe(
      "169.254.169.254 goes through 10.0.1.1 on ens3, whose MAC 00:00:5e:00:01:00 is known (DELAY: being confirmed just now): reachable.",
    );
    expect({ reachable, mends }).toEqual({ reachable: true, mends: [] });
  });

  it("Windows: not reachable, with both mends", () => {
    const explanation = explained(fixture("seed-windows"));
    expect(explanation.reachable).toBe(false);
    expect(explanation.sentence).toBe(
      "169.254.169.254 is on-link on 10.0.0.10: the guest asks by ARP, and nobody answered (Unreachable): not reachable. Turn on onlink on its vif, or add this route.",
    );
    expect(explanation.mends[0]?.what).toContain("let onlink serve the guest's vif");
    expect(commands(explanation)).toEqual(["route add 169.254.169.254 mask 255.255.255.255 10.0.0.1"]);
  });

  it("Windows, once its own mend was typed: reachable", () => {
    const after = fixture("seed-windows")
      .replace(/^0\.0\.0\.0 /m, "169.254.169.254  255.255.255.255  10.0.0.1  10.0.0.10  16\n$&")
      .replace(/^169\.254\.169\.254 .*Unreachable\n/m, "");
    expect(explained(after)).toMatchObject({
      reachable: true,
      decision: { way: "gateway", nextHop: "10.0.0.1" },
    });
  });
});

const LINUX = "default via 10.0.1.1 dev eth0\n10.0.1.0/24 dev eth0 scope link src 10.0.1.3\n";
const LINK_SCOPE = `${LINUX}169.254.0.0/16 dev eth0 scope link\n`;

describe("through a gateway", () => {
  it.each([
    ["REACHABLE", true, "(REACHABLE)"],
    ["STALE", true, "not confirmed lately"],
    ["PROBE", true, "being confirmed just now"],
    ["PERMANENT", true, "(PERMANENT)"],
  ])("%s: reachable is %s", (state, reachable, words) => {
    const explanation = explained(`${LINUX}10.0.1.1 dev eth0 lladdr 02:00:00:00:00:01 ${state}`);
    expect(explanation.reachable).toBe(reachable);
    expect(explanation.sentence).toContain(words);
  });

  it.each(["FAILED", "INCOMPLETE"])(
    "%s: not reachable, with a look at the gateway and onlink's answerArp",
    (state) => {
      const explanation = explained(`${LINUX}10.0.1.1 dev eth0 ${state}`);
      expect(explanation.reachable).toBe(false);
      expect(explanation.sentence).toContain(`does not answer ARP (${state})`);
      expect(commands(explanation)).toEqual(["ip neigh flush to 10.0.1.1 dev eth0", "ping -c 1 10.0.1.1"]);
      expect(explanation.mends[1]?.what).toContain("answerArp: true");
    },
  );

  it("is decided by the routes alone without a neighbour table, and says so", () => {
    const { reachable, sentence } = explained(LINUX);
    expect(reachable).toBe(true);
    expect(sentence).toContain("by its routes alone");
  });

  it("is reachable by its routes where the gateway is just not in the table", () => {
    const { reachable, sentence } = explained(`${LINUX}10.0.1.7 dev eth0 lladdr 02:00:00:00:00:07 STALE`);
    expect(reachable).toBe(true);
    expect(sentence).toContain("has not asked for that MAC lately");
  });

  it("on no connected network is not reachable; the mend takes the gateway of this one", () => {
    const explanation = explained(fixture("ec2-windows"));
    expect(explanation.reachable).toBe(false);
    expect(explanation.sentence).toContain("image made in another subnet");
    expect(commands(explanation)).toEqual([
      "route delete 169.254.169.254 10.0.1.1",
      "route add 169.254.169.254 mask 255.255.255.255 10.0.2.1",
    ]);
  });

  it("takes the row of the same address on another interface for another neighbour", () => {
    expect(explained(`${LINUX}10.0.1.1 dev eth9 FAILED`)).toMatchObject({ reachable: true });
  });
});

describe("on-link", () => {
  it.each([
    [
      "onlink answers",
      "169.254.169.254 dev eth0 lladdr 00:00:5e:00:01:00 REACHABLE",
      true,
      "onlink's gateway MAC",
    ],
    [
      "the gateway answers",
      "10.0.1.1 dev eth0 lladdr 02:00:00:00:00:01 STALE\n169.254.169.254 dev eth0 lladdr 02:00:00:00:00:01 STALE",
      true,
      "its own MAC",
    ],
    [
      "somebody else answers",
      "10.0.1.1 dev eth0 lladdr 02:00:00:00:00:01 STALE\n169.254.169.254 dev eth0 lladdr 02:00:00:00:00:66 REACHABLE",
      false,
      "somebody else answers: 02:00:00:00:00:66",
    ],
    ["nobody answered", "169.254.169.254 dev eth0 FAILED", false, "nobody answered (FAILED)"],
    [
      "nobody has answered yet",
      "169.254.169.254 dev eth0 INCOMPLETE",
      false,
      "nobody has answered yet (INCOMPLETE)",
    ],
    ["it has not asked", "10.0.1.1 dev eth0 lladdr 02:00:00:00:00:01 STALE", false, "has not lately"],
    ["there is no table", "", false, "nobody but onlink would answer"],
  ])("%s", (_what, neighbours, reachable, words) => {
    const explanation = explained(LINK_SCOPE + neighbours);
    expect(explanation.sentence).toContain(words);
    expect(explanation.reachable).toBe(reachable);
    expect(explanation.mends.length > 0).toBe(!reachable);
  });

  it("finds the row by netsh's index where the route has the interface's address, by way of arp -a", () => {
    const text = [
      "0.0.0.0  0.0.0.0  10.0.0.1  10.0.0.10  271",
      "10.0.0.0  255.255.255.0  On-link  10.0.0.10  271",
      "",
      "Interface: 10.0.0.10 --- 0x5",
      "  10.0.0.1  00-00-5e-00-01-00  dynamic",
      "",
      "Interface 5: Ethernet",
      "",
      "169.254.169.254  00-00-5e-00-01-00  Reachable",
    ].join("\n");
    expect(explained(text)).toMatchObject({ reachable: true, neighbour: { line: 9 } });
    // That of another interface is no answer on this one.
    expect(explained(text.replace("Interface 5:", "Interface 9:"))).not.toHaveProperty("neighbour");
  });

  it("with an address that it gave itself: an address by DHCP rather than a route", () => {
    const explanation = explained(fixture("windows-apipa"));
    expect(explanation.mends[0]?.what).toContain("00:15:5d:0a:00:0a");
    expect(commands(explanation)).toEqual(["ipconfig /renew", "ipconfig /all"]);
  });

  it.each([
    ["linux-link-scope", ["ip route replace 169.254.169.254/32 via 10.0.1.1"]],
    ["macos", ["sudo route -n add -host 169.254.169.254 10.0.0.1"]],
    ["powershell", ["route add 169.254.169.254 mask 255.255.255.255 10.0.0.1"]],
  ])("the mend of %s is in its own commands", (name, expected) => {
    expect(commands(explained(fixture(name)))).toEqual(expected);
  });

  it.each(["windows-en", "windows-de", "windows-fr"])("%s: as the seed's Windows guest", (name) => {
    expect(explained(fixture(name)).sentence).toBe(explained(fixture("seed-windows")).sentence);
  });
});

describe("nowhere", () => {
  it.each([
    ["10.0.1.0/24 dev eth0 scope link", "no default route", ["ip route add default via GATEWAY"]],
    [
      `${LINUX}unreachable 169.254.0.0/16`,
      "refuses",
      ["ip route del unreachable 169.254.0.0/16", "ip route replace 169.254.169.254/32 via 10.0.1.1"],
    ],
    [
      `${LINUX}local 169.254.169.254 dev lo table local`,
      "never leave the guest",
      ["ip addr del 169.254.169.254/32 dev lo"],
    ],
  ])("%s", (text, words, expected) => {
    const explanation = explained(text);
    expect(explanation.reachable).toBe(false);
    expect(explanation.sentence).toContain(words);
    expect(commands(explanation)).toEqual(expected);
  });

  it("without an address: DHCP", () => {
    const explanation = explained("1: lo: <LOOPBACK,UP> mtu 65536\n    inet 127.0.0.1/8 scope host lo\n");
    expect(explanation.sentence).toContain("no IPv4 address");
    expect(commands(explanation).join()).toContain("dhcp");
  });
});

describe("is not explained", () => {
  it.each([
    ["nothing known", "hello", undefined, "no routing or neighbour table"],
    ["two guests", fixture("seed-linux") + fixture("seed-windows"), undefined, "one guest at a time"],
    ["no routes", "10.0.0.1 00-00-5e-00-01-00 Reachable", undefined, 'paste the output of "route print" too'],
    ["no link-local address", LINUX, "10.0.0.1", "not an address in 169.254.0.0/16"],
    ["no address", LINUX, "metadata", "not an address in 169.254.0.0/16"],
  ])("%s", (_what, text, to, words) => {
    const result = explain(parseTables(text), to);
    expect(result).toEqual({ ok: false, error: expect.stringContaining(words) });
  });
});

it("never throws on what was read from any mixture of lines", () => {
  const lines = [
    "seed-linux",
    "seed-windows",
    "windows-de",
    "ec2-windows",
    "macos",
    "freebsd",
    "linux-json",
    "linux-link-scope",
    "windows-apipa",
  ].flatMap((name) => fixture(name).split("\n"));
  fc.assert(
    fc.property(fc.array(fc.constantFrom(...lines), { maxLength: 15 }), (some) => {
      const result = explain(parseTables(some.join("\n")));
      if (result.ok) expect(result.explanation.mends.length > 0).toBe(!result.explanation.reachable);
      else expect(result.error).not.toBe("");
    }),
    { numRuns: 300 },
  );
});
