/** Sizes, counts and ages for people. */

const SIZES = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

/** Bytes with three digits or so: `0 B`, `1.5 KiB`, `20 MiB`. */
export function formatBytes(bytes: number | string): string {
  return scaled(Number(bytes), 1024, SIZES, " ");
}

const COUNTS = ["", "k", "M", "G", "T", "P", "E"];

/** A count, in full up to 99999, then with three digits or so: `123 k`, `4.5 M`. */
export function formatCount(count: number | string): string {
  return Number(count) < 100_000 ? String(count) : scaled(Number(count), 1000, COUNTS, " ");
}

function scaled(value: number, step: number, units: readonly string[], space: string): string {
  let unit = 0;
  let left = value;
  // What would be rounded up to a whole step is one of the next unit.
  for (; unit < units.length - 1 && Math.round(left) >= step; unit++) left /= step;
  const digits = unit > 0 && left < 9.95 ? left.toFixed(1) : String(Math.round(left));
  return `${digits}${space}${units[unit]}`.trimEnd();
}

const AGES = [
  { unit: "d", seconds: 86_400 },
  { unit: "h", seconds: 3600 },
  { unit: "m", seconds: 60 },
  { unit: "s", seconds: 1 },
] as const;

/** How long something took or is ago, in its two largest units: `0s`, `42s`, `5m12s`, `2h`, `3d4h`. */
export function formatAge(seconds: number): string {
  const whole = Math.max(0, Math.floor(seconds));
  const first = AGES.findIndex((age) => whole >= age.seconds);
  if (first === -1) return "0s";
  let left = whole;
  return AGES.slice(first, first + 2)
    .flatMap(({ unit, seconds: length }) => {
      const count = Math.floor(left / length);
      left -= count * length;
      return count === 0 ? [] : [`${count}${unit}`];
    })
    .join("");
}

/** The age of a time of day (ISO 8601). */
export function formatAgo(time: string, now = Date.now()): string {
  return `${formatAge((now - Date.parse(time)) / 1000)} ago`;
}
