import { expect, it } from "vitest";
import { COLOURED, PLAIN } from "./paint.ts";
import { formatTable, tableWriter } from "./table.ts";

it("aligns columns by their widest cell and leaves no blanks at the end of lines", () => {
  expect(
    formatTable(
      ["A", "LONG", "C"],
      [
        ["1", "2", ""],
        ["wide one", "3", "4"],
      ],
    ),
  ).toBe("A         LONG  C\n1         2\nwide one  3     4\n");
  expect(formatTable(["A", "B"], [])).toBe("A  B\n");
});

it("puts numbers at the right end", () => {
  expect(formatTable(["A", "COUNT", "B"], [["x", "7", "y"]], { right: ["COUNT"] })).toBe(
    "A  COUNT  B\nx      7  y\n",
  );
});

it("aligns cells by what is seen of them", () => {
  const { bad, heading } = COLOURED;
  expect(
    formatTable(
      ["A", "B"],
      [
        [bad("no"), "1"],
        ["yes", "2"],
      ],
      { paint: COLOURED },
    ),
  ).toBe(`${heading("A")}    ${heading("B")}\n${bad("no")}   1\nyes  2\n`);
});

it("comes in parts, whose columns do not get narrower", () => {
  const write = tableWriter(["A", "B"], { paint: PLAIN });
  expect(write([["wide", "1"]])).toBe("A     B\nwide  1\n");
  expect(write([["x", "2"]])).toBe("x     2\n");
  expect(write([["wider still", "3"]])).toBe("wider still  3\n");
});
