import fc from "fast-check";
import { expect, test } from "vitest";
import { readJson } from "./json-text.ts";

test("JSON gives its value", () => {
  fc.assert(
    fc.property(fc.jsonValue(), fc.integer({ min: 0, max: 3 }), (value, indent) => {
      const text = JSON.stringify(value, null, indent);
      expect(readJson(text)).toEqual({ content: JSON.parse(text) });
    }),
  );
});

test.each([
  ["at the top", '{"a": 1, "b": 2, "a": 3}'],
  ["further in", '[{"x": {"a": 1, "a": 1}}]'],
  ["with other escapes", '{"a": 1, "\\u0061" : 2}'],
  ["as __proto__", '{"__proto__": {}, "__proto__": {}}'],
])("a name that is given twice is not for it: %s", (_, text) => {
  expect(readJson(text)).toBeUndefined();
});

test.each([
  ["a colon at the end of a value", '["a:", "b\\":", {"c": ":", "d:": "\\\\"}]'],
  ["a name in two objects", '[{"a": {"a": 1}}, {"a": 2}]'],
  ["__proto__", '{"__proto__": {"a": 1}}'],
])("no name is given twice: %s", (_, text) => {
  expect(readJson(text)).toEqual({ content: JSON.parse(text) });
});

test.each([
  ["YAML", "a: 1"],
  ["nothing", ""],
  ["a comma at the end", '{"a": 1,}'],
  ["nesting too deep for the stack", "[".repeat(100_000) + "]".repeat(100_000)],
])("what is not for it: %s", (_, text) => {
  expect(readJson(text)).toBeUndefined();
});
