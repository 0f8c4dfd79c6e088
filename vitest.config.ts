import { defineConfig } from "vitest/config";

// Three groups: unit needs nothing, kernel needs root and eBPF, e2e needs both and a lab of namespaces.
// Each is a project of its own so that `npx vitest run --project unit` works on any machine.
export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: "unit",
          include: ["src/**/*.test.ts"],
          exclude: ["src/**/*.kernel.test.ts"],
        },
      },
      {
        test: {
          name: "kernel",
          include: ["src/**/*.kernel.test.ts"],
          testTimeout: 60_000,
          hookTimeout: 60_000,
        },
      },
      {
        test: {
          name: "e2e",
          include: ["test/**/*.test.ts"],
          pool: "forks",
          maxWorkers: 2,
          testTimeout: 120_000,
          hookTimeout: 120_000,
        },
      },
    ],
  },
});
