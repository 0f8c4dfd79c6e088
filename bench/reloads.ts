import type { Lab } from "../src/lab/lab.ts";
import { output } from "../test/support/commands.ts";

/** How often the agent has taken over a changed configuration, and how long it took in all, in ms. */
export async function reloads(lab: Lab): Promise<{ count: number; ms: number }> {
  const metrics = await output(lab.host, [
    ...["curl", "-sS", "--unix-socket", "/run/onlink/onlink.sock", "http://localhost/metrics"],
  ]);
  const value = (name: string) => {
    const line = new RegExp(`^onlink_reconcile_duration_seconds_${name}\\{trigger="reload"\\} (.*)$`, "m");
    return Number(line.exec(metrics)?.[1] ?? 0);
  };
  return { count: value("count"), ms: value("sum") * 1000 };
}
