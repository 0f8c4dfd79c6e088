import { expect, test } from "vitest";
import { COLOURED, PLAIN, paintFor } from "./paint.ts";

const colours = () => true;

test.each([
  ["a terminal with colours", { isTTY: true, hasColors: colours }, COLOURED],
  ["a terminal without, or with NO_COLOR", { isTTY: true, hasColors: () => false }, PLAIN],
  ["a file or pipe", { hasColors: colours }, PLAIN],
])("%s", (_name, stream, paint) => {
  expect(paintFor(stream)).toBe(paint);
});

test("colours end where the text ends", () => {
  expect(COLOURED.good("200")).toBe("\u001b[32m200\u001b[39m");
  expect(COLOURED.bad("FAILED")).toBe("\u001b[31mFAILED\u001b[39m");
  expect(PLAIN.heading("text")).toBe("text");
});
