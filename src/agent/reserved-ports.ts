/** Ports from `first` to `last`, both included. */
export type PortRange = readonly [first: number, last: number];

/**
 * Reads the text of `net.ipv4.ip_local_reserved_ports`: ports and ranges with commas between them (kernel
 * documentation, ip-sysctl). Throws on anything else.
 */
export function parsePortRanges(text: string): PortRange[] {
  const trimmed = text.trim();
  if (trimmed === "") return [];
  return trimmed.split(",").map((part) => {
    const match = /^(\d+)(?:-(\d+))?$/.exec(part.trim());
    if (match === null)
      throw new Error(`"${part}" in the list of reserved ports is neither a port nor a range`);
    const first = Number(match[1]);
    return [first, match[2] === undefined ? first : Number(match[2])];
  });
}

/** Writes ranges as `net.ipv4.ip_local_reserved_ports` takes them; a newline alone empties the list. */
export function formatPortRanges(ranges: readonly PortRange[]): string {
  return `${ranges.map(([first, last]) => (first === last ? `${first}` : `${first}-${last}`)).join(",")}\n`;
}

/** The ports in `a` or `b`, as ascending ranges that do not touch. */
export function unitePorts(a: readonly PortRange[], b: readonly PortRange[]): PortRange[] {
  const united: Array<[number, number]> = [];
  for (const [first, last] of [...a, ...b].sort((x, y) => x[0] - y[0])) {
    const end = united.at(-1);
    if (end !== undefined && first <= end[1] + 1) end[1] = Math.max(end[1], last);
    else united.push([first, last]);
  }
  return united;
}

/** The ports in `a` that are not in `b`, as ascending ranges that do not touch. */
export function subtractPorts(a: readonly PortRange[], b: readonly PortRange[]): PortRange[] {
  let left = unitePorts(a, []);
  for (const [first, last] of b) {
    left = left.flatMap(([start, end]): PortRange[] => {
      if (end < first || start > last) return [[start, end]];
      const pieces: PortRange[] = [
        [start, first - 1],
        [last + 1, end],
      ];
      return pieces.filter(([low, high]) => low <= high);
    });
  }
  return left;
}

/**
 * The list to set so that `wanted` is reserved, given the list as it is and what onlink added to it earlier. What others
 * reserved stays. `added` is what onlink is answerable for now and takes away again when it leaves.
 */
export function reservePorts(
  current: readonly PortRange[],
  addedBefore: readonly PortRange[],
  wanted: readonly PortRange[],
): { list: PortRange[]; added: PortRange[] } {
  const others = subtractPorts(current, addedBefore);
  return { list: unitePorts(others, wanted), added: subtractPorts(wanted, others) };
}
