/**
 * What the benchmarks found, as data, and the pages made of it. Pure: record.ts keeps the data, finish.ts writes the files.
 *
 * A measurement is one piece of work done in several ways, onlink's and those of its peers, in rounds in which they take turns.
 */
import { median } from "./median.ts";

/** A figure that a way of doing the work is to reach. */
export interface Target {
  /** The way that is judged, and the one it stands next to; without `against` the figure itself is judged. */
  way: string;
  against?: string;
  bound: "at least" | "at most";
  limit: number;
}

/** One piece of work. */
export interface Measurement {
  /** The file that measures it, `arp` for arp.bench.ts: `make bench ONLY=arp`. */
  part: string;
  /** What was done, unique within its part. */
  work: string;
  unit: string;
  /** By way, the figure of each round, in the order of the rounds. */
  values: Record<string, number[]>;
  targets: Target[];
  /** What a reader must know to understand the figures. */
  notes: string[];
}

/** The machine and the versions of what was measured. */
export interface Machine {
  processor: string;
  processors: number;
  memoryGiB: number;
  kernel: string;
  node: string;
  onlink: string;
  /** Version of each peer, by its name. */
  peers: Record<string, string>;
}

/** Everything that one or more runs found. */
export interface Report {
  machine: Machine;
  /** By part: when it was measured (ISO 8601), and what. */
  parts: Record<string, { date: string; measurements: Measurement[] }>;
}

/** A target with what was reached: the median, and between which figures the middle half of the rounds lies. */
export interface Verdict extends Target {
  reached: number;
  middle: [number, number];
  met: boolean;
}

/**
 * Judges the targets of a measurement. Two ways are compared round by round, since what else the machine does in a round falls on both: the
 * figure is the median of these ratios.
 */
export function judge({ values, targets }: Pick<Measurement, "values" | "targets">): Verdict[] {
  return targets.map((target) => {
    const own = values[target.way]!;
    const peer = target.against === undefined ? undefined : values[target.against]!;
    if (peer !== undefined && peer.length !== own.length)
      throw new Error(`${target.way} has ${own.length} rounds, ${target.against} ${peer.length}`);
    const figures = own.map((value, round) => value / (peer?.[round] ?? 1));
    const reached = median(figures);
    return {
      ...target,
      reached,
      middle: middleHalf(figures),
      met: target.bound === "at least" ? reached >= target.limit : reached <= target.limit,
    };
  });
}

/** How far the rounds of one way lie apart: the middle half of them, as a share of the median. */
export function spread(values: readonly number[]): number {
  const [low, high] = middleHalf(values);
  return high === low ? 0 : (high - low) / median(values);
}

function middleHalf(values: readonly number[]): [number, number] {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (share: number) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))]!;
  return [at(0.25), at(0.75)];
}

/** A figure with as many digits as mean something. */
export function figure(value: number): string {
  if (value >= 1000) return Math.round(value).toLocaleString("en");
  return value >= 100 ? value.toFixed(0) : value.toPrecision(3);
}

/** `1.02 of direct (0.98 to 1.05), at least 0.98: met`, or `12 ns, at most 60 ns: met`. */
export function formatVerdict(verdict: Verdict, unit: string): string {
  const { way, against, bound, limit, reached, middle, met } = verdict;
  const own = way === "onlink" ? "" : `${way}: `;
  const [is, wanted] =
    against === undefined
      ? [`${figure(reached)} ${unit}`, `${figure(limit)} ${unit}`]
      : [
          `${reached.toFixed(2)} of ${against} (${middle.map((one) => one.toFixed(2)).join(" to ")})`,
          String(limit),
        ];
  return `${own}${is}, ${bound} ${wanted}: ${met ? "met" : "**missed**"}`;
}

/** A measurement as lines for a terminal. */
export function formatMeasurement(measurement: Measurement): string {
  const { work, unit, values, notes } = measurement;
  const width = Math.max(...Object.keys(values).map(({ length }) => length));
  return [
    `${work} (${unit}):`,
    ...Object.entries(values).map(
      ([way, rounds]) =>
        `  ${way.padEnd(width)}  median ${figure(median(rounds))}, rounds ${rounds.map(figure).join(" ")}`,
    ),
    ...judge(measurement).map((verdict) => `  ${formatVerdict(verdict, unit).replaceAll("*", "")}`),
    ...notes.map((note) => `  ${note}`),
  ].join("\n");
}

/** The page `docs/benchmarks.md`. `titles`: a heading for each part, in the order of the page. */
export function toMarkdown({ machine, parts }: Report, titles: Record<string, string>): string {
  const peers = Object.entries(machine.peers).map(([name, version]) => `${name} ${version}`);
  const lines = [
    "# Benchmarks",
    "",
    "Written by `make bench` (all of it) and `make bench ONLY=part`; do not edit. The rounds of one piece of work are done in turn by all ways in",
    "one run, so that whatever else the machine does falls on all of them. Figures are medians, ratios the medians of the ratios of each round; in",
    "brackets between which the middle half of them lies: where a limit lies between, the rounds do not tell. *Spread* is the middle half of",
    "a way's rounds as a share of their median.",
    "",
    `Machine: ${machine.processor}, ${machine.processors} processors, ${machine.memoryGiB} GiB, Linux ${machine.kernel}, Node.js ${machine.node}. onlink ${machine.onlink}; ${peers.join(", ")}.`,
    "The rounds themselves are in [benchmarks.json](benchmarks.json).",
  ];
  for (const [part, title] of Object.entries(titles)) {
    const found = parts[part];
    if (found === undefined) continue;
    lines.push("", `## ${title}`, "", `\`make bench ONLY=${part}\`, ${found.date.slice(0, 10)}.`);
    for (const measurement of found.measurements) lines.push("", ...measurementLines(measurement));
  }
  return `${lines.join("\n")}\n`;
}

function measurementLines(measurement: Measurement): string[] {
  const { part, work, unit, values, notes } = measurement;
  return [
    `### ${work}`,
    "",
    `| ${unit} | median | spread | rounds |`,
    "|---|---:|---:|---:|",
    ...Object.entries(values).map(
      ([way, rounds]) =>
        `| ${way} | ${figure(median(rounds))} | ${(100 * spread(rounds)).toFixed(0)} % | ${rounds.length} |`,
    ),
    "",
    `![${work}](benchmarks/${plotName(part, work)})`,
    ...judge(measurement).flatMap((verdict) => ["", `Target: ${formatVerdict(verdict, unit)}.`]),
    ...notes.flatMap((note) => ["", note]),
  ];
}

/** The file name of a measurement's plot. */
export function plotName(part: string, work: string): string {
  const name = work
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, "-")
    .replaceAll(/^-|-$/g, "");
  return `${part}-${name}.svg`;
}

/** `letter`: how wide one is on average, rather too much, since a viewer has a font of its own. */
const PLOT = { width: 640, letter: 6.8, row: 26, bar: 16, margin: 8 };

/** A plot: a bar for the median of each way, a dot for each round. */
export function toSvg({ work, unit, values }: Measurement): string {
  const { width, letter, row, bar, margin } = PLOT;
  const ways = Object.entries(values);
  const label = Math.ceil(2 * margin + letter * Math.max(...ways.map(([way]) => way.length)));
  const most = Math.max(...ways.flatMap(([, rounds]) => rounds));
  const scale = (width - label - 100) / (most || 1);
  const height = margin * 2 + row * (ways.length + 1);
  const rows = ways.flatMap(([way, rounds], index) => {
    const top = margin + row * (index + 1);
    const middle = top + bar / 2;
    const length = median(rounds) * scale;
    return [
      `<text x="${label - 8}" y="${middle + 4}" text-anchor="end">${escapeXml(way)}</text>`,
      `<rect x="${label}" y="${top}" width="${length.toFixed(1)}" height="${bar}" fill="${way.startsWith("onlink") ? "#2b6cb0" : "#a0aec0"}"/>`,
      ...rounds.map(
        (value) =>
          `<circle cx="${(label + value * scale).toFixed(1)}" cy="${middle}" r="2" fill="#1a202c" fill-opacity="0.6"/>`,
      ),
      `<text x="${width - margin}" y="${middle + 4}" text-anchor="end">${figure(median(rounds))}</text>`,
    ];
  });
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="sans-serif" font-size="12">`,
    `<title>${escapeXml(`${work} (${unit})`)}</title>`,
    `<rect width="${width}" height="${height}" fill="#ffffff"/>`,
    `<text x="${margin}" y="${margin + 12}" font-weight="bold">${escapeXml(`${work} (${unit})`)}</text>`,
    ...rows,
    "</svg>\n",
  ].join("\n");
}

function escapeXml(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}
