import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { answerOfError, answerOfRecords, createLookup, parseHosts } from "./resolver.ts";

describe("parseHosts", () => {
  it("reads names, aliases and comments, and several addresses of one name", () => {
    const text = [
      "127.0.0.1\tlocalhost",
      "::1 localhost ip6-localhost",
      "  192.0.2.1   NS1.example ns1 # the first",
      "#192.0.2.9 commented.example",
      "192.0.2.2 ns1.example",
      "192.0.2.2 ns1.example",
      "192.0.2.300 wrong.example",
      "192.0.2.3",
    ].join("\n");
    expect(parseHosts(text)).toEqual(
      new Map([
        ["localhost", ["127.0.0.1"]],
        ["ns1.example", ["192.0.2.1", "192.0.2.2"]],
        ["ns1", ["192.0.2.1"]],
      ]),
    );
  });

  it("takes any text", () => {
    fc.assert(fc.property(fc.string({ unit: "binary" }), (text) => parseHosts(text) instanceof Map));
  });
});

describe("what an answer means", () => {
  it.each([
    ["ENOTFOUND", "none"],
    ["ENODATA", "none"],
    ["ESERVFAIL", "failed"],
    ["EREFUSED", "failed"],
    ["ETIMEOUT", "failed"],
    ["ECONNREFUSED", "failed"],
    ["ECANCELLED", "failed"],
    ["EWHATEVER", "failed"],
  ])("%s: %s", (code, kind) => {
    expect(answerOfError(code).kind).toBe(kind);
  });

  it("records: their addresses, and the least TTL", () => {
    const records = [
      { address: "192.0.2.1", ttl: 60 },
      { address: "192.0.2.2", ttl: 30 },
    ];
    expect(answerOfRecords(records)).toEqual({
      kind: "addresses",
      addresses: ["192.0.2.1", "192.0.2.2"],
      ttl: 30,
    });
  });

  it("loopback addresses of DNS: not believed", () => {
    const inner = { address: "127.0.0.1", ttl: 1 };
    expect(answerOfRecords([inner]).kind).toBe("none");
    expect(answerOfRecords([inner, { address: "192.0.2.2", ttl: 30 }])).toEqual({
      kind: "addresses",
      addresses: ["192.0.2.2"],
      ttl: 30,
    });
  });
});

describe("createLookup", () => {
  it("believes the hosts file before DNS, as it is now", async () => {
    const folder = mkdtempSync(join(tmpdir(), "onlink-hosts-"));
    try {
      const file = join(folder, "hosts");
      const lookup = createLookup("169.254.64.0/18", file);
      const { signal } = new AbortController();
      writeFileSync(file, "127.0.0.1 here.example\n");
      const here = { kind: "addresses", addresses: ["127.0.0.1"], ttl: 60 };
      expect(await lookup("here.example", signal)).toEqual(here);
      writeFileSync(file, "192.0.2.11 here.example\n");
      expect(await lookup("here.example", signal)).toMatchObject({ addresses: ["192.0.2.11"] });
      rmSync(file);
      const ended = new AbortController();
      ended.abort();
      expect(await lookup("here.example", ended.signal)).toMatchObject({ kind: "failed" });
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
