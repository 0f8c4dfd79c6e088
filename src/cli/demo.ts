import { demoSimulate } from "./demo-simulate.ts";

/**
 * `onlink demo`: for real in a lab where that can be, else simulated, and then it says why. `simulate` asks for the simulation.
 *
 * What needs Linux is imported only on the way to the real one: it looks for the C library and libbpf as soon as it is loaded.
 */
export async function demo({ simulate = false }: { simulate?: boolean }): Promise<number> {
  if (simulate) return demoSimulate();
  const problems = await realDemoProblems();
  if (problems.length === 0) return (await import("./demo-lab.ts")).demoInLab();
  console.log(["The demo cannot run for real here, so it is simulated:", ...problems].join("\n  "));
  console.log();
  return demoSimulate();
}

/** Why the real demo cannot run here. */
async function realDemoProblems(): Promise<string[]> {
  if (process.platform !== "linux") return [`it needs Linux, this is ${process.platform}`];
  if (process.getuid?.() !== 0) return ["it needs root, to make network namespaces; run it with sudo"];
  try {
    return (await import("./demo-lab.ts")).labDemoProblems();
  } catch (error) {
    const [first] = (error instanceof Error ? error.message : String(error)).split("\n");
    return [`what it needs cannot be loaded: ${first}; put it there with: make build`];
  }
}
