import { describe, expect, it } from "vitest";
import { readSysctl, writeSysctl } from "./sysctl.ts";

describe("names of kernel settings", () => {
  it.each(["", ".", "..", "../../etc", "a/b"])("cannot have the part %j", (part) => {
    expect(() => readSysctl(["net", part, "x"])).toThrow(
      `"${part}" cannot be part of a kernel setting's name`,
    );
    expect(() => writeSysctl(["net", part, "x"], "1")).toThrow(
      `"${part}" cannot be part of a kernel setting's name`,
    );
  });
});
