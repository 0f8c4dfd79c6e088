import { expect, test } from "vitest";
import { suggest } from "./suggest.ts";

test.each<[word: string, meant: string | undefined]>([
  ["prot", "protocol"],
  ["protocols", "protocol"],
  ["Port", "port"],
  ["prt", "port"],
  ["adress", "address"],
  ["response-hop-limit", "responseHopLimit"],
  ["po", undefined],
  ["x", undefined],
  ["", undefined],
  ["colour", undefined],
])("%j is meant to be %s", (word, meant) => {
  expect(suggest(word, ["address", "port", "protocol", "responseHopLimit"])).toBe(meant);
});
