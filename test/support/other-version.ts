/** Another version of onlink, whose structs differ from this one's: built in a folder of its own. */
import { execFileSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));

/** Structs that have one field more there, in front of all others: keys and values of every kind of map. */
const CHANGED = [
  ...["settings", "service", "backend_key", "backend", "vif", "vif_state", "fragment", "counter"],
  ...["flow_key", "reverse_key", "flow", "event"],
];

/** See `buildOtherVersion`. */
export interface OtherVersion extends Disposable {
  /** Its command. */
  onlink: string;
}

/** Copies what was built here, and changes the structs in its header and in its codecs alike. */
export function buildOtherVersion(): OtherVersion {
  const folder = mkdtempSync(join(tmpdir(), "onlink-other-"));
  for (const name of ["bin", "dist", "bpf", "package.json"])
    cpSync(join(ROOT, name), join(folder, name), { recursive: true });
  symlinkSync(join(ROOT, "node_modules"), join(folder, "node_modules"));
  edit(join(folder, "bpf/onlink.h"), (name) => [`struct ${name} {\n`, `struct ${name} {\n\t__u32 other;\n`]);
  edit(join(folder, "dist/datapath/layout.js"), (name) => [
    `struct("${name}", {`,
    `struct("${name}", { other: padding(4, 4),`,
  ]);
  rmSync(join(folder, "dist/bundle"), { recursive: true });
  build(folder);
  return {
    onlink: join(folder, "bin/onlink"),
    [Symbol.dispose]: () => rmSync(folder, { recursive: true }),
  };
}

function edit(file: string, change: (struct: string) => [from: string, to: string]): void {
  let text = readFileSync(file, "utf8");
  for (const name of CHANGED) {
    const [from, to] = change(name);
    if (!text.includes(from)) throw new Error(`${file} has no "${from}"`);
    text = text.replace(from, to);
  }
  writeFileSync(file, text);
}

/** The datapath and the bundle, with the Makefile's own commands. */
function build(folder: string): void {
  mkdirSync(join(folder, ".cache"));
  writeFileSync(join(folder, ".cache/system-build"), "");
  const makefile = ["-s", "-f", join(ROOT, "Makefile"), "-C", folder, "-o", "dist/cli/main.js"];
  execFileSync("make", [...makefile, "dist/onlink.bpf.o", "dist/bundle/main.js"], {
    stdio: ["ignore", "ignore", "inherit"],
  });
}
