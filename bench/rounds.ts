/**
 * Runs all ways of doing a piece of work in turn, `count` times over, after one round that does not count. Every other round goes the
 * other way round, so that none of them always comes after the same.
 */
export async function rounds<Way extends string>(
  count: number,
  ways: Record<Way, () => number | Promise<number>>,
): Promise<Record<Way, number[]>> {
  const order = Object.keys(ways) as Way[];
  const values = Object.fromEntries(order.map((way) => [way, [] as number[]])) as Record<Way, number[]>;
  for (const way of order) await ways[way]();
  for (let round = 0; round < count; round++) {
    for (const way of round % 2 === 0 ? order : order.toReversed()) values[way].push(await ways[way]());
  }
  return values;
}
