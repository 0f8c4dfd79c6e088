/** The script behind `make`'s installing. */
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const INSTALL = fileURLToPath(new URL("../scripts/install-npm.sh", import.meta.url));

test("node_modules that is a symbolic link is refused, and the folder behind it left alone", () => {
  const folder = mkdtempSync(join(tmpdir(), "onlink-install-"));
  try {
    mkdirSync(join(folder, "shared"));
    writeFileSync(join(folder, "shared", "package"), "");
    symlinkSync("shared", join(folder, "node_modules"));
    const { status, stderr } = spawnSync(INSTALL, { cwd: folder, encoding: "utf8" });
    expect(status).toBe(1);
    expect(stderr).toMatch(/node_modules is a symbolic link.*\n$/);
    expect(readdirSync(join(folder, "shared"))).toEqual(["package"]);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
