import { expect, it } from "vitest";
import { formatTable } from "./table.ts";

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
