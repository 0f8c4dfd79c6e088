import {
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmdirSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { metadataAddressFile, openMetadataAddresses, parseSaved } from "./saved-metadata-addresses.ts";

let stateDir: string;
beforeEach(() => {
  stateDir = mkdtempSync(join(tmpdir(), "onlink-addresses-"));
});
afterEach(() => rmSync(stateDir, { recursive: true }));

const open = (pool = "169.254.64.0/18") => openMetadataAddresses(stateDir, pool);
const file = () => metadataAddressFile(stateDir);

/** Gives names addresses, and saves those that are new. */
function assign({ addresses, save }: ReturnType<typeof open>, ...names: string[]) {
  const added = names
    .filter((name) => !addresses.knows(name))
    .map((name) => ({ name, address: addresses.assign(name)! }));
  save(added);
  return added;
}

describe("saved metadata addresses", () => {
  it("are those of before after a restart", () => {
    const saved = open();
    const all = [...assign(saved, "tap0"), ...assign(saved, "tap1", "tap2")];
    expect(open().addresses.toSave()).toEqual(all);
    expect(statSync(file()).mode & 0o777).toBe(0o600);
  });

  it("cost a new name as much as its own line, and now and then the whole file", () => {
    const saved = open();
    assign(saved, ...Array.from({ length: 3000 }, (_, n) => `old${n}`));
    const inode = statSync(file()).ino;
    const size = statSync(file()).size;
    const [added] = assign(saved, "tap0");
    expect(statSync(file())).toMatchObject({
      ino: inode,
      size: size + `${JSON.stringify(added)}\n`.length,
    });
    // A pool that is used up: each new name takes the address of another.
    const small = open("169.254.64.0/28");
    for (let n = 0; n < 5000; n++) {
      assign(small, `new${n}`);
      small.addresses.release(`new${n}`);
    }
    expect(readFileSync(file(), "utf8").split("\n").length).toBeLessThan(1100);
    expect(open("169.254.64.0/28").addresses.toSave()).toEqual(small.addresses.toSave());
  });

  it("are none the worse for a line that was cut short", () => {
    const saved = open();
    const [first] = assign(saved, "tap0");
    assign(saved, "tap1");
    truncateSync(file(), statSync(file()).size - 5);
    const again = open();
    expect(again.addresses.toSave()).toEqual([first]);
    const [other] = assign(again, "tap2");
    expect(open().addresses.toSave()).toEqual([first, other]);
  });

  it("are whole again after a write that failed", () => {
    const saved = open();
    assign(saved, "tap0");
    rmSync(file());
    mkdirSync(file());
    expect(() => assign(saved, "tap1")).toThrow("EISDIR");
    rmdirSync(file());
    assign(saved, "tap2");
    expect(
      open()
        .addresses.toSave()
        .map(({ name }) => name),
    ).toEqual(["tap0", "tap1", "tap2"]);
  });

  it("are whole again where somebody has deleted the file", () => {
    const saved = open();
    assign(saved, "tap0");
    rmSync(file());
    assign(saved, "tap1");
    expect(open().addresses.toSave()).toEqual(saved.addresses.toSave());
  });

  it.each([
    "",
    "\n",
    "null\n",
    "{}\n",
    '{"version":1}\n',
    '{"version":2}\n{}\n',
    '{"version":2}\n{"name":"a","address":"1.2.3"}\n',
  ])("in a file with %j stop the start", (text) => {
    writeFileSync(file(), text);
    expect(() => open()).toThrow(
      /metadata-addresses.json is damaged \(.*\); delete it: running interfaces keep/,
    );
  });

  it("count by the last line of each name and each address", () => {
    const entry = fc.record({
      name: fc.constantFrom("a", "b", "c", "d"),
      address: fc.constantFrom("169.254.64.2", "169.254.64.3", "169.254.64.4"),
    });
    fc.assert(
      fc.property(fc.array(entry), (entries) => {
        const saved = parseSaved(
          `{"version":2}\n${entries.map((one) => `${JSON.stringify(one)}\n`).join("")}`,
        );
        const isLast = (one: (typeof entries)[number], index: number) =>
          !entries.slice(index + 1).some(({ name, address }) => name === one.name || address === one.address);
        expect(saved).toEqual(entries.filter(isLast));
      }),
    );
  });
});
