import { afterEach, expect, test, vi } from "vitest";
import { labPath, labProblems, missingTools } from "./requirements.ts";

afterEach(() => {
  vi.restoreAllMocks();
});

test("a missing tool is named with the package that has it", () => {
  expect(
    missingTools([
      ["sh", "dash"],
      ["no-such-tool", "some-package"],
    ]),
  ).toEqual(["no-such-tool is not installed; run: apt-get install some-package"]);
});

test("a lab without root says so", () => {
  vi.spyOn(process, "getuid").mockReturnValue(1000);
  expect(labProblems()).toContain("a lab needs root, to make network namespaces; run it with sudo");
});

test("folders of system programs are added to a PATH that lacks them, after its own", () => {
  expect(labPath("/opt/bin:/usr/bin")).toBe(
    "/opt/bin:/usr/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/sbin:/bin",
  );
});
