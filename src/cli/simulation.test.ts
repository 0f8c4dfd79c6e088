import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { decide } from "../endpoint/decide.ts";
import { parseTables } from "../endpoint/detect.ts";
import { GATEWAY_MAC } from "../packet/address.ts";
import { frameErrors } from "../packet/frame.ts";
import { findFaults, formatNeighbours, formatSimulation } from "./demo-simulate.ts";
import { PLAIN } from "./paint.ts";
import { SERVICE, SIMULATED_GUESTS, simulate, simulatedDatapath } from "./simulation.ts";

const [linux, windows] = SIMULATED_GUESTS;
if (linux?.system !== "linux" || windows?.system !== "windows") throw new Error("the guests are others");

describe("without onlink", () => {
  it("the Linux guest's packets reach the host and nothing more", () => {
    const { decision, frames, neighbours, answer } = simulate(linux);
    expect(decision).toMatchObject({ way: "gateway", nextHop: "10.0.1.1" });
    expect(frames.map(({ at }) => Math.floor(at))).toEqual([0, 0, 0, 1, 2]);
    expect(neighbours).toEqual([{ address: "10.0.1.1", mac: "02:00:00:00:00:fe", state: "reachable" }]);
    expect(answer).toBeUndefined();
  });
  it("the Windows guest asks by ARP, and nobody answers", () => {
    const { decision, frames, neighbours, answer } = simulate(windows);
    expect(decision).toMatchObject({ way: "on-link", rule: "rfc3927", nextHop: SERVICE.address });
    expect(frames.map(({ outcome }) => outcome)).toEqual(Array(3).fill("nobody answers"));
    expect(neighbours).toEqual([{ address: SERVICE.address, state: "failed" }]);
    expect(answer).toBeUndefined();
  });
});

describe("with onlink", () => {
  it.each([linux, windows])(
    "the $system guest gets an answer, and the service sees its metadata address",
    (guest) => {
      const { frames, answer } = simulate(guest, simulatedDatapath());
      expect(answer).toEqual({ status: 200, seenFrom: guest.metadataAddress });
      for (const { frame } of frames) expect(frameErrors(frame)).toEqual([]);
    },
  );
  it("the Windows guest's neighbour is the gateway MAC", () => {
    expect(simulate(windows, simulatedDatapath()).neighbours).toEqual([
      { address: SERVICE.address, mac: GATEWAY_MAC, state: "reachable" },
    ]);
  });
  it("a Windows guest with the route of the workaround goes by the gateway, and is served too", () => {
    const route = "  169.254.169.254  255.255.255.255         10.0.0.1        10.0.0.10     16";
    const { decision, answer } = simulate(
      { ...windows, routes: [...windows.routes, route] },
      simulatedDatapath(),
    );
    expect(decision).toMatchObject({ way: "gateway", nextHop: "10.0.0.1", connected: true });
    expect(answer?.status).toBe(200);
  });
  it("a guest whose vif has other addresses gets none: the model decides, not the story", () => {
    const datapath = simulatedDatapath([{ ...windows, address: "10.9.9.9" }]);
    expect(simulate(windows, datapath).answer).toBeUndefined();
  });
});

describe("the text", () => {
  const before = SIMULATED_GUESTS.map((guest) => simulate(guest));
  const datapath = simulatedDatapath();
  const after = SIMULATED_GUESTS.map((guest) => simulate(guest, datapath));

  it("tells no faults, and each of them where there is one", () => {
    expect(findFaults(before, after)).toEqual([]);
    expect(findFaults(after, after)).toHaveLength(2);
    expect(findFaults(before, before)).toHaveLength(3);
  });
  it("has tables that the guests' own systems print, before and after", () => {
    for (const { guest, neighbours } of [...before, ...after]) {
      const text = [...guest.routes, "", ...formatNeighbours(guest.system, neighbours)].join("\n");
      const tables = parseTables(text);
      expect(tables.system).toBe(guest.system);
      expect(tables.notUnderstood).toEqual([]);
      expect(tables.neighbours).toMatchObject(neighbours);
      expect(decide(tables, SERVICE.address)?.way).toBe(guest.system === "linux" ? "gateway" : "on-link");
    }
  });
  it("fits a wide terminal, and shows the seed's line and its end", () => {
    const text = formatSimulation(before, after, PLAIN);
    const [without = "", withOnlink = ""] = text.split("2. With onlink");
    for (const line of text.split("\n")) expect(line.length, line).toBeLessThanOrEqual(110);
    expect(without).toMatch(/^169\.254\.169\.254 +00-00-00-00-00-00 {2}Unreachable$/m);
    expect(without).not.toContain("status 200");
    expect(withOnlink).toMatch(/^169\.254\.169\.254 +00-00-5e-00-01-00 {2}Reachable$/m);
    expect(withOnlink.match(/^ {2}status 200, /gm)).toHaveLength(2);
    expect(withOnlink).toContain("(A1)");
  });
});

it("the way to the simulation imports nothing that needs Linux", () => {
  const root = new URL("../", import.meta.url);
  const seen = new Set<string>();
  const visit = (url: URL) => {
    if (seen.has(url.href)) return;
    seen.add(url.href);
    const imports = readFileSync(url, "utf8").matchAll(
      /^(?:import|export) (?!type\b)[^;]*?from "([^"]+)";/gms,
    );
    for (const [, from = ""] of imports) {
      if (from.startsWith(".")) visit(new URL(from, url));
      else
        expect(["commander", "yaml", "zod", "node:fs", "node:path"], `${url.href} imports it`).toContain(
          from,
        );
    }
  };
  for (const name of ["cli/main.ts", "cli/demo.ts", "cli/workaround.ts"]) visit(new URL(name, root));
  const folders = new Set([...seen].map((href) => href.slice(root.href.length).split("/")[0]));
  expect([...folders].sort()).toEqual(["cli", "config", "endpoint", "model", "packet"]);
});
