import { defineConfig } from "vitest/config";

// unit needs nothing, kernel needs root and eBPF, e2e needs both and a lab of namespaces; bench, fuzz and kernels measure, search and
// boot another kernel: each has a make target of its own.
// Each is a project of its own so that `npx vitest run --project unit` works on any machine.
export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: "unit",
          sequence: { groupOrder: 0 },
          include: ["src/**/*.test.ts", "bench/**/*.test.ts"],
          exclude: ["src/**/*.kernel.test.ts"],
          // Enough for a machine that is busy with other things.
          testTimeout: 60_000,
        },
      },
      {
        test: {
          name: "kernel",
          sequence: { groupOrder: 1 },
          include: ["src/**/*.kernel.test.ts"],
          testTimeout: 60_000,
          hookTimeout: 60_000,
        },
      },
      {
        test: {
          name: "e2e",
          sequence: { groupOrder: 2 },
          include: ["test/**/*.test.ts"],
          exclude: ["test/kernels/**"],
          pool: "forks",
          maxWorkers: 2,
          testTimeout: 120_000,
          hookTimeout: 120_000,
        },
      },
      {
        // An older kernel, in a virtual machine; what runs in there is `inside-vm`.
        test: { name: "kernels", include: ["test/kernels/*.test.ts"] },
      },
      {
        test: {
          name: "inside-vm",
          include: ["test/kernels/inside/*.test.ts"],
          testTimeout: 120_000,
          hookTimeout: 120_000,
        },
      },
      {
        test: {
          name: "bench",
          sequence: { groupOrder: 3 },
          include: ["bench/**/*.bench.ts"],
          globalSetup: "bench/finish.ts",
          fileParallelism: false,
          testTimeout: 600_000,
        },
      },
      {
        test: {
          name: "fuzz",
          include: ["test/differential/fuzz.run.ts"],
        },
      },
    ],
  },
});
