/**
 * Debian 12's own kernel, which has clsact and no tcx, and a verifier that follows less than later ones: what is built here runs
 * under it, in a virtual machine with a lab of its own.
 */
import { expect, test } from "vitest";
import { bootHostVm } from "../../src/lab/host-vm.ts";
import { openLab } from "../../src/lab/lab.ts";

/** Under software emulation everything takes ten times as long. */
const TIMEOUT = 280_000;

test(
  "the programs load and the way from end to end works on Linux 6.1",
  async () => {
    await using lab = await openLab();
    const vm = await bootHostVm(lab, {
      script: `uname -r && ${process.execPath} node_modules/vitest/vitest.mjs run --project inside-vm --reporter=verbose --disable-console-intercept`,
      timeout: TIMEOUT,
    });
    console.log(vm.output);
    expect(vm.code, vm.console).toBe(0);
    expect(vm.output).toMatch(/^6\.1\./);
  },
  TIMEOUT + 10_000,
);
