import fc from "fast-check";
import { expect, it } from "vitest";
import { parseExposition } from "./exposition.ts";
import { counter, gauge, histogram } from "./metric-text.ts";

const label = fc.constantFrom("service", "direction", "le", "_A1");
const text = fc.string({
  unit: fc.oneof(fc.constantFrom("\\", '"', "\n", "n", ",", "}", "="), fc.string({ unit: "grapheme" })),
});
const value = fc.oneof(
  fc.double({ noNaN: true, noDefaultInfinity: true }),
  fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
);

it("a parser reads the labels and values that were written, whatever they hold", () => {
  const samples = fc.uniqueArray(fc.tuple(fc.dictionary(label, text, { maxKeys: 3 }), value), {
    selector: ([labels]) => JSON.stringify(Object.entries(labels).sort()),
  });
  fc.assert(
    fc.property(samples, fc.constantFrom(gauge, counter), (samples, family) => {
      const families = parseExposition(family("some_metric", "Some words.")(samples));
      expect([...families.keys()]).toEqual(["some_metric"]);
      const { help, type, samples: read } = families.get("some_metric")!;
      expect({ help, type }).toEqual({ help: "Some words.", type: family.name });
      expect(read.map(({ labels, value }) => [Object.entries(labels), value + 0])).toEqual(
        samples.map(([labels, value]) => [Object.entries(labels), Number(value) + 0]),
      );
    }),
  );
});

it("a histogram has its buckets, one more for all values, their sum and their count", () => {
  const buckets = [
    { le: 0.5, count: 2 },
    { le: 1, count: 3 },
  ];
  expect(histogram("seconds", "Some times.")({ buckets, sum: 7.5, count: 4 })).toBe(
    [
      "# HELP seconds Some times.",
      "# TYPE seconds histogram",
      'seconds_bucket{le="0.5"} 2',
      'seconds_bucket{le="1"} 3',
      'seconds_bucket{le="+Inf"} 4',
      "seconds_sum 7.5",
      "seconds_count 4",
      "",
    ].join("\n"),
  );
});
