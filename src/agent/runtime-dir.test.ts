import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type AgentRecord, checkBpffs, readRecord, runtimePaths, writeRecord } from "./runtime-dir.ts";

const record: AgentRecord = {
  configFile: "/etc/onlink/onlink.yaml",
  devices: ["onlink0"],
  stateDirs: ["/var/lib/onlink"],
  sockets: ["/run/onlink/onlink.sock"],
  reservedPorts: [[61000, 65535]],
  bpffs: "mounted",
};

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "onlink-runtime-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

describe("the record", () => {
  it("is read as it was written, and is none before that", () => {
    expect(readRecord(folder)).toBeUndefined();
    writeRecord(folder, record);
    expect(readRecord(folder)).toEqual(record);
  });

  it.each([
    "",
    "{",
    "null",
    "[]",
    JSON.stringify({ ...record, devices: "onlink0" }),
    JSON.stringify({ ...record, reservedPorts: [[1]] }),
    JSON.stringify({ ...record, bpffs: undefined }),
  ])("says which file is damaged, and the mend: %j", (text) => {
    const file = runtimePaths(folder).record;
    writeFileSync(file, text);
    expect(() => readRecord(folder)).toThrow(
      new RegExp(
        `^${file} is damaged \\(.+\\); delete it: \`onlink run\` writes it anew, and \`onlink down\` then goes by the configuration$`,
      ),
    );
  });
});

describe("a private mount namespace", () => {
  it("is refused where the bpffs would have to be mounted in it", () => {
    const check = (host: string | undefined) => checkBpffs(folder, () => ({ self: "mnt:[1]", host }));
    expect(() => check("mnt:[1]")).not.toThrow();
    expect(() => check("mnt:[2]")).toThrow(`mkdir -p ${folder}/bpf && mount -t bpf bpf ${folder}/bpf`);
    expect(() => check(undefined)).toThrow("this may be a private mount namespace");
  });
});
