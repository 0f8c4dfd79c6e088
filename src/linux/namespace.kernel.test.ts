import { execFileSync } from "node:child_process";
import { closeSync, readFileSync, readlinkSync } from "node:fs";
import { expect, it } from "vitest";
import { inNetworkNamespace, makeNetworkNamespace } from "./namespace.ts";

const current = () => readlinkSync("/proc/thread-self/ns/net");

it("runs an action, and the processes it starts, in another namespace, and comes back", () => {
  const home = current();
  const namespace = makeNetworkNamespace();
  expect(current()).toBe(home);
  const seen = inNetworkNamespace(namespace, () => ({
    namespace: current(),
    devices: readFileSync("/proc/thread-self/net/dev", "utf8"),
    child: execFileSync("readlink", ["/proc/self/ns/net"], { encoding: "utf8" }).trim(),
  }));
  expect(seen.namespace).not.toBe(home);
  expect(seen.child).toBe(seen.namespace);
  expect(seen.devices).not.toContain("eth0");
  expect(current()).toBe(home);
  closeSync(namespace);
});

it("comes back from an action that throws", () => {
  const home = current();
  const namespace = makeNetworkNamespace();
  expect(() =>
    inNetworkNamespace(namespace, () => {
      throw new Error("as it may");
    }),
  ).toThrow("as it may");
  expect(current()).toBe(home);
  closeSync(namespace);
});
