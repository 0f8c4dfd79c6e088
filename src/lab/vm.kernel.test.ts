import { expect, test } from "vitest";
import { openLab } from "./lab.ts";
import { bootVm } from "./vm.ts";

test("a VM on a tap runs its script, reaches its gateway and powers off", async () => {
  await using lab = await openLab();
  const vm = await bootVm(lab, {
    tapName: "tap0",
    address: "10.0.3.2/24",
    gateway: "10.0.3.1",
    behaviour: "on-link",
    script:
      "ping -c 1 -W 5 10.0.3.1 >/dev/null && echo reached; ip route; cat /sys/class/net/eth0/address; exit 7",
  });
  expect(vm.output).toMatch(/^reached$/m);
  expect(vm.output).toMatch(/^default via 10\.0\.3\.1 dev eth0/m);
  expect(vm.output).toMatch(/^169\.254\.0\.0\/16 dev eth0 scope link/m);
  expect(vm.code).toBe(7);
  expect(vm.output).toMatch(/^02:00:0a:00:03:02$/m);
});

test("a VM that does not get to the end of its script is an error that shows the console", async () => {
  await using lab = await openLab();
  const boot = bootVm(lab, {
    tapName: "tap0",
    address: "10.0.3.2/24",
    gateway: "10.0.3.1",
    behaviour: "routed",
    script: "echo so far; poweroff -f",
  });
  await expect(boot).rejects.toThrow(/before its script did.*so far/s);
});
