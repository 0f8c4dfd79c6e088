/** Real virtual machines on taps: another kernel, with a virtio card, fetches from a service. */
import { expect, test } from "vitest";
import { openLab } from "../src/lab/lab.ts";
import { startHttpServer } from "../src/lab/servers.ts";
import { bootVm } from "../src/lab/vm.ts";
import { GATEWAY_MAC } from "../src/packet/address.ts";
import { interfaceIn, startAgent, statusOf } from "./support/agent.ts";
import { hashOfBytes } from "./support/commands.ts";

test.each([
  ["routed", "vmtap0", ""],
  ["on-link", "vmtap1", GATEWAY_MAC],
] as const)("a VM, %s, on a tap that comes while the agent runs", async (behaviour, tapName, expectedMac) => {
  await using lab = await openLab();
  await startHttpServer(lab.host, { address: "127.0.0.1", port: 8080 });
  await startAgent(lab, {
    services: [{ name: "web", address: "169.254.169.254", port: 80, backends: ["127.0.0.1:8080"] }],
    interfaces: [{ name: "vmtap*" }],
  });
  const vm = await bootVm(lab, {
    tapName,
    behaviour,
    address: "10.0.3.2/24",
    gateway: "10.0.3.1",
    script: `
      wget -q -O - http://169.254.169.254/from-vm || exit 1
      wget -q -O - http://169.254.169.254/bytes/5000000 | sha256sum
      ping -c 1 -W 5 169.254.169.254 >/dev/null && echo pinged
      echo "neighbour: $(ip neigh show 169.254.169.254)"`,
  });
  expect(vm.code, vm.console).toBe(0);
  expect(vm.output).toContain('"url":"/from-vm"');
  expect(vm.output).toContain('"peer":"169.254.64.2"');
  expect(vm.output).toContain(hashOfBytes(5_000_000));
  expect(vm.output).toMatch(/^pinged$/m);
  const neighbour = /^neighbour: (.*)$/m.exec(vm.output)?.[1];
  if (expectedMac === "") expect(neighbour).toBe("");
  else expect(neighbour).toContain(`lladdr ${expectedMac}`);
  expect(interfaceIn(await statusOf(lab), tapName)?.counters?.forwarded.frames).toBeGreaterThan(0);
});
