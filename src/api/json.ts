/** What becomes of a value in JSON here: a counter is a number, or text where a number would lose digits. */
export type InJson<T> = T extends bigint
  ? number | string
  : T extends ReadonlyArray<infer Item>
    ? Array<InJson<Item>>
    : T extends object
      ? { [Key in keyof T]: InJson<T[Key]> }
      : T;

/** The value as JSON.stringify takes it, bigints as `InJson` says. */
export function inJson<T>(value: T): InJson<T> {
  if (typeof value === "bigint") return counterInJson(value) as InJson<T>;
  if (Array.isArray(value)) return value.map((item) => inJson(item)) as InJson<T>;
  if (typeof value === "object" && value !== null) {
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, inJson(item)])) as InJson<T>;
  }
  return value as InJson<T>;
}

/** The same as text, without a copy of the value in between. */
export function toJson(value: unknown): string {
  return JSON.stringify(value, (_key, item: unknown) =>
    typeof item === "bigint" ? counterInJson(item) : item,
  );
}

function counterInJson(value: bigint): number | string {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value.toString();
}
