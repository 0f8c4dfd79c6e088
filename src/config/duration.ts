/** Milliseconds in each unit that a duration may have. */
const UNITS = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 } as const;

/** A duration of the configuration, `500ms`, `5s`, `2m` or `1h`, in ms; undefined when the text is none. */
export function parseDuration(text: string): number | undefined {
  const [, digits, unit] = /^(0|[1-9]\d{0,8})(ms|s|m|h)$/.exec(text) ?? [];
  return unit === undefined ? undefined : Number(digits) * UNITS[unit as keyof typeof UNITS];
}

/** A duration in ms as the configuration writes it, in the largest unit that gives a whole number. */
export function formatDuration(ms: number): string {
  const unit = (["h", "m", "s"] as const).find((one) => ms >= UNITS[one] && ms % UNITS[one] === 0) ?? "ms";
  return `${ms / UNITS[unit]}${unit}`;
}
