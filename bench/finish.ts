/**
 * Before a run of the benchmarks: forgets what the last one found. After it: takes what was measured into docs/benchmarks.json, beside the parts
 * that were not measured this time, and writes page and plots anew. A target that was missed makes the run fail.
 */
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { cpus, release, totalmem } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { FOUND } from "./record.ts";
import {
  formatVerdict,
  judge,
  type Machine,
  type Measurement,
  plotName,
  type Report,
  toMarkdown,
  toSvg,
} from "./report.ts";
import { TITLES } from "./titles.ts";

const DOCS = fileURLToPath(new URL("../docs", import.meta.url));
const PLOTS = join(DOCS, "benchmarks");
const REPORT = join(DOCS, "benchmarks.json");
const PACKAGE = fileURLToPath(new URL("../package.json", import.meta.url));

/** Runs before the first benchmark; what it returns, after the last. */
export default function setup(): () => void {
  rmSync(FOUND, { recursive: true, force: true });
  return finish;
}

function finish(): void {
  if (!existsSync(FOUND)) return;
  const found = readdirSync(FOUND).map(
    (name): Measurement => JSON.parse(readFileSync(join(FOUND, name), "utf8")),
  );
  const report: Report = existsSync(REPORT)
    ? JSON.parse(readFileSync(REPORT, "utf8"))
    : { machine: {}, parts: {} };
  report.machine = machine();
  for (const part of new Set(found.map((one) => one.part))) {
    const measurements = found
      .filter((one) => one.part === part)
      .sort((a, b) => a.work.localeCompare(b.work, "en", { numeric: true }));
    report.parts[part] = { date: new Date().toISOString(), measurements };
  }
  mkdirSync(PLOTS, { recursive: true });
  writeFileSync(REPORT, `${JSON.stringify(report, null, 1)}\n`);
  writeFileSync(join(DOCS, "benchmarks.md"), toMarkdown(report, TITLES));
  const measurements = Object.values(report.parts).flatMap((part) => part.measurements);
  const plots = new Map(measurements.map((one) => [plotName(one.part, one.work), toSvg(one)]));
  for (const [name, svg] of plots) writeFileSync(join(PLOTS, name), svg);
  for (const name of readdirSync(PLOTS)) if (!plots.has(name)) rmSync(join(PLOTS, name));

  const missed = found.flatMap((one) =>
    judge(one)
      .filter(({ met }) => !met)
      .map((verdict) => `${one.part}: ${one.work}: ${formatVerdict(verdict, one.unit).replaceAll("*", "")}`),
  );
  console.log([`${found.length} measured, ${missed.length} targets missed`, ...missed].join("\n  "));
  if (missed.length > 0) process.exitCode = 1;
}

function machine(): Machine {
  const [processor] = cpus();
  return {
    processor: processor!.model.trim(),
    processors: cpus().length,
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    kernel: release(),
    node: process.versions.node,
    onlink: JSON.parse(readFileSync(PACKAGE, "utf8")).version,
    peers: {
      nftables: versionOf("nft", ["--version"]),
      haproxy: versionOf("haproxy", ["-v"]),
      nginx: versionOf("nginx", ["-v"]),
      farpd: packageVersion("farpd"),
    },
  };
}

/** The first thing that looks like a version in what a program says of itself. */
function versionOf(program: string, args: string[]): string {
  const said = execFileSync("/bin/sh", ["-c", `${program} ${args.join(" ")} 2>&1`], { encoding: "utf8" });
  return /\d+(\.\d+)+/.exec(said)?.[0] ?? "unknown";
}

function packageVersion(name: string): string {
  return execFileSync("dpkg-query", ["-W", "-f", "$" + "{Version}", name], { encoding: "utf8" });
}
