/** Prometheus' text format (version 0.0.4), read strictly; for tests. */

/** A family of series with one name. */
export interface Family {
  help: string;
  type: string;
  samples: Array<{ name: string; labels: Record<string, string>; value: number }>;
}

/**
 * The families of a text. Throws where a line is none of the format's, a family lacks HELP or TYPE or has its lines apart, a sample belongs to no
 * family, or a series is there twice.
 */
export function parseExposition(text: string): Map<string, Family> {
  const families = new Map<string, Family>();
  const series = new Set<string>();
  let current: string | undefined;
  if (!text.endsWith("\n")) throw new Error("the last line does not end");
  for (const line of text.split("\n")) {
    if (line === "") continue;
    const help = /^# HELP ([a-zA-Z_:][\w:]*) (.+)$/.exec(line);
    const type = /^# TYPE ([a-zA-Z_:][\w:]*) (counter|gauge|histogram|summary)$/.exec(line);
    const sample = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (nan|[+-]?inf|[-+.\de]+)$/is.exec(line);
    if (help !== null) {
      const [, name = "", words = ""] = help;
      if (families.has(name)) throw new Error(`${name} is there twice`);
      families.set(name, { help: words, type: "", samples: [] });
      current = name;
    } else if (type !== null) {
      if (type[1] !== current) throw new Error(`TYPE without HELP: ${line}`);
      families.get(current ?? "")!.type = type[2]!;
    } else if (sample !== null) {
      const [, name = "", text = "", value = ""] = sample;
      const family = families.get(current ?? "");
      const suffixes = family?.type === "histogram" ? ["_bucket", "_sum", "_count"] : [""];
      if (family === undefined || !suffixes.some((suffix) => name === current + suffix))
        throw new Error(`a sample of no family: ${line}`);
      if (family.type === "") throw new Error(`${current} has no TYPE`);
      const labels = parseLabels(text);
      const id = JSON.stringify([name, Object.entries(labels).sort()]);
      if (series.has(id)) throw new Error(`twice: ${line}`);
      series.add(id);
      family.samples.push({ name, labels, value: Number(value.replace(/inf/i, "Infinity")) });
    } else throw new Error(`not of the format: ${line}`);
  }
  return families;
}

/** `a="b",c="d"`, with backslash, quote and line feed escaped. */
function parseLabels(text: string): Record<string, string> {
  const labels: Record<string, string> = {};
  const label = /([a-zA-Z_]\w*)="((?:[^"\\\n]|\\["\\n])*)"(,|$)/y;
  while (label.lastIndex < text.length) {
    const at = label.lastIndex;
    const match = label.exec(text);
    if (match === null) throw new Error(`not labels: ${text.slice(at)}`);
    const [, name = "", value = ""] = match;
    if (name in labels) throw new Error(`a label twice: ${text}`);
    labels[name] = value.replaceAll(/\\(.)/g, (_, escaped) => (escaped === "n" ? "\n" : escaped));
  }
  return labels;
}
