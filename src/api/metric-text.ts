/**
 * Prometheus' text format (version 0.0.4), written from the values of a moment. A scrape of a thousand services has ten thousand lines and more:
 * nothing is kept of them between two scrapes.
 */

/** Labels and value. */
export type Sample = readonly [labels: Readonly<Record<string, string>>, value: number | bigint];

/** A histogram that is kept elsewhere: `count` values, `sum` together, of which each bucket has those up to `le`. */
export interface HistogramValues {
  buckets: ReadonlyArray<{ le: number; count: number }>;
  sum: number;
  count: number;
}

/** A gauge: gives the lines of its family, the last one ended. `help` is one line without backslashes. */
export function gauge(name: string, help: string): (samples: readonly Sample[]) => string {
  return (samples) => familyText(name, help, "gauge", samples);
}

/** A counter of what is counted elsewhere; see `gauge`. */
export function counter(name: string, help: string): (samples: readonly Sample[]) => string {
  return (samples) => familyText(name, help, "counter", samples);
}

/** A histogram without labels of its own; see `gauge`. */
export function histogram(name: string, help: string): (values: HistogramValues) => string {
  return ({ buckets, sum, count }) =>
    [
      ...headOf(name, help, "histogram"),
      ...buckets.map((bucket) => sampleLine(`${name}_bucket`, [{ le: String(bucket.le) }, bucket.count])),
      sampleLine(`${name}_bucket`, [{ le: "+Inf" }, count]),
      sampleLine(`${name}_sum`, [{}, sum]),
      sampleLine(`${name}_count`, [{}, count]),
      "",
    ].join("\n");
}

function familyText(name: string, help: string, type: string, samples: readonly Sample[]): string {
  const lines = headOf(name, help, type);
  for (const sample of samples) lines.push(sampleLine(name, sample));
  lines.push("");
  return lines.join("\n");
}

function headOf(name: string, help: string, type: string): string[] {
  return [`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`];
}

/** `name{label="value",...} number`. Numbers beyond 2^53 lose their last digits, as they do in Prometheus. */
function sampleLine(name: string, [labels, value]: Sample): string {
  let list = "";
  for (const label in labels) list += `${list === "" ? "" : ","}${label}="${escaped(labels[label]!)}"`;
  return list === "" ? `${name} ${Number(value)}` : `${name}{${list}} ${Number(value)}`;
}

/** A label's value: any text, with backslash, quote and line feed escaped. */
function escaped(text: string): string {
  if (!/[\\"\n]/.test(text)) return text;
  return text.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n");
}
