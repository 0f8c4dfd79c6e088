import { constants } from "node:os";
import { type Logger, pino } from "pino";
import { describe, expect, it } from "vitest";
import { DatapathError, EntryError } from "../datapath/errors.ts";
import type { ServiceEntry, ServiceKey } from "../datapath/types.ts";
import { apply, type PlanTarget } from "./apply.ts";
import { fakeDatapath } from "./fakes.ts";
import type { Operation } from "./plan.ts";

const log: Logger = pino({ enabled: false });
const DNS: ServiceKey = { address: "169.254.169.253", port: 53, protocol: "udp" };
const WEB: ServiceKey = { address: "169.254.169.254", port: 80, protocol: "tcp" };
const nameOf = (key: ServiceKey) => (key === DNS ? "dns" : undefined);
const backend = (port: number) => ({ kind: "host-local", address: "127.0.0.1", port }) as const;
const entry = (id: number): ServiceEntry => ({
  id,
  backends: 2,
  responseHopLimit: 64,
  whenNoBackend: "reject",
  drain: 0,
  drainEnds: 0n,
});
const OPERATIONS: Operation[] = [
  {
    kind: "set-backends",
    entries: [
      [{ service: 1, slot: 0 }, backend(1)],
      [{ service: 7, slot: 0 }, backend(2)],
    ],
  },
  {
    kind: "set-services",
    entries: [
      [DNS, entry(1)],
      [WEB, entry(7)],
    ],
  },
  {
    kind: "set-addresses",
    entries: [
      [DNS.address, 1],
      [WEB.address, 1],
    ],
  },
  { kind: "delete-addresses", keys: ["169.254.169.1"] },
  { kind: "delete-services", keys: [WEB] },
  { kind: "delete-backends", keys: [{ service: 1, slot: 1 }] },
];

/** A datapath in which the write at an index of one list of entries, or keys, fails. */
function failing(
  map: "serviceAddresses" | "services" | "backends",
  method: "setAll" | "deleteAll",
  at: number,
) {
  const fake = fakeDatapath();
  const error = new EntryError(new DatapathError("the kernel says no", constants.errno.ENOMEM), at);
  const fail = () => {
    throw error;
  };
  const target: PlanTarget = { ...fake.datapath, [map]: { ...fake.datapath[map], [method]: fail } };
  return { ...fake, target };
}

describe("a write that fails", () => {
  it.each([
    ["backends", "setAll", 0, "service dns (169.254.169.253:53/udp), backend 127.0.0.1:1"],
    ["backends", "setAll", 1, "service that is removed (169.254.169.254:80/tcp), backend 127.0.0.1:2"],
    ["services", "setAll", 0, "service dns (169.254.169.253:53/udp)"],
    ["serviceAddresses", "setAll", 1, "service address 169.254.169.254"],
    ["serviceAddresses", "deleteAll", 0, "service address 169.254.169.1"],
    ["services", "deleteAll", 0, "service that is removed (169.254.169.254:80/tcp)"],
    ["backends", "deleteAll", 0, "service dns (169.254.169.253:53/udp), a backend that it has no longer"],
  ] as const)("to %s by %s at %i is named: %s", (map, method, at, about) => {
    const { target } = failing(map, method, at);
    expect(() => apply(target, OPERATIONS, { nameOf, log })).toThrow(
      new DatapathError(`${about}: the kernel says no`, constants.errno.ENOMEM),
    );
  });

  it("ends the plan: nothing that comes after is done", () => {
    const { target, takeWrites } = failing("services", "setAll", 0);
    expect(() => apply(target, OPERATIONS, { nameOf, log })).toThrow(DatapathError);
    expect(takeWrites().every((write) => write.startsWith("set backend"))).toBe(true);
  });

  it("in a map that is full says what to do", () => {
    const { target } = failing("services", "setAll", 0);
    target.services.setAll = () => {
      throw new EntryError(new DatapathError("write a map entry: E2BIG", constants.errno.E2BIG), 1);
    };
    expect(() => apply(target, OPERATIONS, { nameOf, log })).toThrow(
      "the datapath has room for no more of them; configure fewer services or backends",
    );
  });

  it("while flows end is told as it is", () => {
    const { datapath } = fakeDatapath();
    const target = {
      ...datapath,
      endFlows: () => {
        throw new DatapathError("run a program on a frame: EPERM");
      },
    };
    const operations: Operation[] = [{ kind: "end-flows", services: [1], addresses: [] }];
    expect(() => apply(target, operations, { nameOf, log })).toThrow("run a program on a frame: EPERM");
  });
});
