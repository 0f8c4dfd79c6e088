import { describe, expect, it } from "vitest";
import { judgeInput, type Ruleset } from "./firewall.ts";

const packet = {
  interface: "onlink0",
  protocol: "tcp",
  source: "169.254.64.1",
  destination: "127.0.0.1",
  port: 8775,
} as const;

const base = { family: "inet", table: "filter", name: "input", hook: "input", prio: 0, policy: "drop" };
const meta = (key: string) => ({ meta: { key } });
const payload = (protocol: string, field: string) => ({ payload: { protocol, field } });
const match = (left: object, right: unknown, op = "==") => ({ match: { op, left, right } });
const accept = { accept: null };
const drop = { drop: null };

/** The chain `input`, which drops by default, with these rules; others by their names. */
function rulesetOf(input: object[][], others: Record<string, object[][]> = {}): Ruleset {
  const chains = Object.entries({ input, ...others });
  return {
    nftables: [
      { chain: base },
      ...chains.flatMap(([chain, rules]) =>
        rules.map((expr) => ({ rule: { family: "inet", table: "filter", chain, expr: expr as never } })),
      ),
    ],
  };
}

const chain = "inet filter input";
const judge = (input: object[][], others?: Record<string, object[][]>) =>
  judgeInput(rulesetOf(input, others), packet).fate;

describe("judgeInput", () => {
  it("lets in what no chain of the input hook stops", () => {
    expect(judgeInput({ nftables: [] }, packet)).toEqual({ fate: "accept" });
    const open = { ...base, policy: "accept" };
    const elsewhere = { ...base, name: "forward", hook: "forward" };
    const ipv6 = { ...base, family: "ip6" };
    expect(
      judgeInput({ nftables: [{ chain: open }, { chain: elsewhere }, { chain: ipv6 }] }, packet),
    ).toEqual({
      fate: "accept",
    });
  });

  it("names the chain that drops, whichever it is of several", () => {
    expect(judgeInput(rulesetOf([]), packet)).toEqual({ fate: "drop", chain });
    const first = { ...base, family: "ip", name: "first", prio: -10, policy: "accept" };
    const both = [{ chain: first }, ...rulesetOf([[accept]]).nftables];
    expect(judgeInput({ nftables: both }, packet)).toEqual({ fate: "accept" });
    const rule = { family: "ip", table: "filter", chain: "first", expr: [drop] };
    expect(judgeInput({ nftables: [...both, { rule }] }, packet)).toEqual({
      fate: "drop",
      chain: "ip filter first",
    });
  });

  it.each<[string, object[], string]>([
    ["interface", [match(meta("iifname"), "onlink0"), accept], "accept"],
    ["wildcard", [match(meta("iifname"), "onlink*"), accept], "accept"],
    ["another interface", [match(meta("iifname"), "lo"), accept], "drop"],
    ["all but an interface", [match(meta("iifname"), "eth0", "!="), accept], "accept"],
    ["set", [match(meta("iifname"), { set: ["eth0", "onlink0"] }), accept], "accept"],
    ["port", [match(payload("tcp", "dport"), 8775), accept], "accept"],
    ["range of ports", [match(payload("tcp", "dport"), { range: [8000, 9000] }), accept], "accept"],
    ["port of another protocol", [match(payload("udp", "dport"), 8775, "!="), accept], "drop"],
    ["port of any protocol", [match(payload("th", "dport"), { set: [53, 8775] }), accept], "accept"],
    ["protocol", [match(meta("l4proto"), { set: ["tcp", "udp"] }), accept], "accept"],
    [
      "source",
      [match(payload("ip", "saddr"), { prefix: { addr: "169.254.64.0", len: 18 } }), accept],
      "accept",
    ],
    [
      "destination",
      [match(payload("ip", "daddr"), { prefix: { addr: "10.0.0.0", len: 8 } }), accept],
      "drop",
    ],
    ["IPv6 alone", [match(payload("ip6", "saddr"), "::1", "!="), accept], "drop"],
    ["open connections", [match({ ct: { key: "state" } }, ["established", "related"], "in"), accept], "drop"],
    ["new connections", [match({ ct: { key: "state" } }, "new", "in"), accept], "accept"],
    ["named set", [match(payload("tcp", "dport"), "@web"), accept], "perhaps"],
    ["limit", [{ limit: { rate: 5, per: "second" } }, accept], "perhaps"],
    ["what it does not know", [match({ fib: {} }, "local"), accept], "perhaps"],
    ["count and log", [{ counter: {} }, { log: {} }, accept], "accept"],
    ["queue", [{ queue: {} }], "perhaps"],
    ["reject", [{ reject: {} }, accept], "drop"],
    [
      "verdict map",
      [
        {
          vmap: {
            key: meta("iifname"),
            data: {
              set: [
                ["lo", accept],
                ["onlink0", accept],
              ],
            },
          },
        },
      ],
      "accept",
    ],
    ["verdict map without it", [{ vmap: { key: meta("iifname"), data: { set: [["lo", accept]] } } }], "drop"],
    ["named verdict map", [{ vmap: { key: meta("iifname"), data: "@map" } }], "perhaps"],
  ])("understands a rule by %s", (_, rule, fate) => {
    expect(judge([rule])).toBe(fate);
  });

  it("follows jumps, gotos and returns", () => {
    const jump = { jump: { target: "sub" } };
    const goto = { goto: { target: "sub" } };
    expect(judge([[jump]], { sub: [[accept]] })).toBe("accept");
    expect(judge([[jump], [accept]], { sub: [[{ return: null }], [drop]] })).toBe("accept");
    expect(judge([[goto], [accept]], { sub: [] })).toBe("drop");
    expect(judge([[match({ fib: {} }, 1), jump]], { sub: [[accept]] })).toBe("perhaps");
    expect(judge([[jump]], { sub: [[jump]] })).toBe("perhaps");
  });
});
