import {
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino } from "pino";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { GuestMetadata } from "../config/guest-metadata.ts";
import { waitFor } from "../lab/wait.ts";
import { TOKEN_KEY_BYTES } from "../metadata/tokens.ts";
import { type MetadataDocuments, metadataDocumentsDir, openMetadataDocuments } from "./metadata-documents.ts";
import { loadMetadataKey, metadataKeyFile } from "./metadata-key.ts";

const ID = "6f3a0a3e-3b1c-4f0e-9a53-1f3a6a1d2c11";

let root: string;
let stateDir: string;
let directory: string;
let lines: string[];
let opened: MetadataDocuments[];
const log = pino({ base: null }, { write: (line) => void lines.push(line) });

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "onlink-metadata-"));
  stateDir = join(root, "state");
  directory = join(root, "guests");
  mkdirSync(stateDir);
  lines = [];
  opened = [];
});
afterEach(() => {
  for (const documents of opened) documents.close();
  rmSync(root, { recursive: true });
});

function open(
  options: { directory?: string; configured?: Record<string, GuestMetadata> } = {},
): MetadataDocuments {
  const documents = openMetadataDocuments({
    stateDir,
    directory: options.directory,
    configured: (key) => options.configured?.[key],
    log,
  });
  opened.push(documents);
  return documents;
}

/** What counts for a guest behind tap0. */
function hostnameOf(
  documents: MetadataDocuments,
  guest: { instanceId?: string; metadata?: GuestMetadata } = {},
) {
  return documents.of({ interface: "tap0", metadataAddress: "169.254.64.2", addresses: [], ...guest })
    ?.hostname;
}

function put(name: string, text: string): void {
  // As careful programs do it: whole or not at all.
  writeFileSync(join(root, "whole"), text);
  renameSync(join(root, "whole"), join(directory, name));
}

describe("what was set", () => {
  it("survives a restart, for its owner alone", () => {
    open().set("tap0", { hostname: "a", userData: "hush" });
    open().set(ID.toUpperCase(), { hostname: "b" });
    const again = open();
    expect(again.get("tap0")).toEqual({ hostname: "a", userData: "hush" });
    expect(again.get(ID)).toEqual({ hostname: "b" });
    expect(statSync(join(metadataDocumentsDir(stateDir), "tap0.json")).mode & 0o777).toBe(0o600);
    expect(again.remove("tap0")).toBe(true);
    expect(again.remove("tap0")).toBe(false);
    expect(open().get("tap0")).toBeUndefined();
    expect(lines).toEqual([]);
  });

  it("replaces, and is patched as RFC 7396 has it", () => {
    const documents = open({ configured: { tap0: { hostname: "web", tags: { a: "1", b: "2" } } } });
    documents.patch("tap0", { tags: { a: null, c: "3" }, region: "x" });
    expect(documents.get("tap0")).toEqual({ hostname: "web", tags: { b: "2", c: "3" }, region: "x" });
    documents.set("tap0", { region: "y" });
    expect(documents.get("tap0")).toEqual({ region: "y" });
    documents.remove("tap0");
    expect(documents.get("tap0")?.hostname).toBe("web");
  });

  it.each([
    ["a wrong field", "tap0", { hostName: "x" }, /unknown field "hostName"/],
    ["a wrong value", "tap0", { network: { mtu: 1 } }, /^network\.mtu: 1 is not an MTU/],
    ["no map", "tap0", [], /not a map/],
    ["a pattern", "tap*", {}, /"tap\*" is not the name of an interface or the UUID of an instance/],
    ["a path", "../tap0", {}, /is not the name/],
  ])("is refused with %s, and nothing changes", (_, key, content, message) => {
    const documents = open();
    documents.set("tap0", { hostname: "a" });
    const version = documents.version();
    expect(() => documents.set(key, content)).toThrow(message);
    expect(() => documents.patch(key, content)).toThrow(message);
    expect(documents.get("tap0")).toEqual({ hostname: "a" });
    expect(documents.version()).toBe(version);
  });

  it("is not changed where it cannot be saved", () => {
    const documents = open();
    documents.set("tap0", { hostname: "a" });
    rmSync(metadataDocumentsDir(stateDir), { recursive: true });
    expect(() => documents.set("tap0", { hostname: "b" })).toThrow(/ENOENT/);
    expect(documents.get("tap0")).toEqual({ hostname: "a" });
  });

  it("refuses a patch that lies too deep to be merged", () => {
    const deep = JSON.parse(`${'{"ec2":'.repeat(50_000)}1${"}".repeat(50_000)}`);
    expect(() => open().patch("tap0", deep)).toThrow(/more than 16 others/);
  });

  it("is left out when its file is damaged, and its content is not logged", () => {
    open().set("tap0", { hostname: "a" });
    writeFileSync(join(metadataDocumentsDir(stateDir), "tap0.json"), '{"credentials": {"token": ["hush"]}}');
    expect(open().get("tap0")).toBeUndefined();
    expect(lines.join("")).toContain("credentials.token: expected");
    writeFileSync(join(metadataDocumentsDir(stateDir), "tap0.json"), '{"credentials": {"token": hush}}');
    expect(open().get("tap0")).toBeUndefined();
    expect(lines.join("")).toContain("not JSON");
    expect(lines.join("")).not.toContain("hush");
  });
});

describe("of what is said in several places", () => {
  it("one counts: over the API, in the directory, in the configuration; by instance id, by interface", () => {
    mkdirSync(directory);
    const guest = { instanceId: ID, metadata: { hostname: "configuration" } };
    const documents = open({ directory });
    expect(hostnameOf(documents, guest)).toBe("configuration");
    put("tap0.yaml", "hostname: directory-tap0");
    documents.configure(undefined);
    documents.configure(directory);
    expect(hostnameOf(documents, guest)).toBe("directory-tap0");
    put(`${ID}.json`, '{"hostname": "directory-id"}');
    documents.configure(undefined);
    documents.configure(directory);
    expect(hostnameOf(documents, guest)).toBe("directory-id");
    expect(hostnameOf(documents)).toBe("directory-tap0");
    documents.set("tap0", { hostname: "set-tap0" });
    expect(hostnameOf(documents, guest)).toBe("set-tap0");
    documents.set(ID, { hostname: "set-id" });
    expect(hostnameOf(documents, guest)).toBe("set-id");
    expect(hostnameOf(documents)).toBe("set-tap0");
  });
});

describe("a directory", () => {
  it("is followed: files that come, change and go", async () => {
    mkdirSync(directory);
    const documents = open({ directory });
    const version = documents.version();
    put("tap0.yaml", "hostname: a # because");
    await waitFor("the new file", () => hostnameOf(documents) === "a");
    expect(documents.version()).toBeGreaterThan(version);
    put("tap0.yaml", "hostname: b");
    await waitFor("the change", () => hostnameOf(documents) === "b");
    rmSync(join(directory, "tap0.yaml"));
    await waitFor("the end", () => hostnameOf(documents) === undefined);
    expect(documents.problems()).toEqual([]);
  });

  it("with a wrong file keeps what the file said before, and says what is wrong", async () => {
    mkdirSync(directory);
    put("tap0.yaml", "hostname: a");
    const documents = open({ directory });
    put("tap0.yaml", "hostname: a\ncredentials: { token: [hush] }");
    await waitFor("the problem", () => documents.problems().length > 0);
    expect(hostnameOf(documents)).toBe("a");
    expect(documents.problems()).toContainEqual(
      expect.stringMatching(/guests\/tap0\.yaml:2:23: credentials\.token: expected/),
    );
    expect(lines.join("")).toContain("tap0.yaml:2:23");
    expect(lines.join("") + documents.problems().join()).not.toContain("hush");
    put("tap0.yaml", "hostname: b");
    await waitFor("the mend", () => documents.problems().length === 0);
    expect(hostnameOf(documents)).toBe("b");
  });

  it.each([
    'userData: "hush" hush',
    "userData: |hush",
    "userData: *hush",
    "userData: !hush x",
    "userData: [hush",
  ])("does not quote %s", (text) => {
    mkdirSync(directory);
    put("tap0.yaml", text);
    const { problems } = open({ directory });
    expect(problems()).toEqual([expect.stringMatching(/tap0\.yaml:1:\d+: /)]);
    expect(lines.join("") + problems().join()).not.toContain("hush");
  });

  it("says what it cannot use, and uses the rest", () => {
    mkdirSync(directory);
    mkdirSync(join(directory, "tap1.json"));
    put("tap0.json", '{"hostname": "a"}');
    put("tap0.yaml", "hostname: b");
    put("tap*.json", "{}");
    put("tap2.yaml", "x: ".repeat(400_000));
    put("README.md", "not for guests");
    put(".tap3.json.swp", "an editor's");
    symlinkSync(join(directory, "nowhere"), join(directory, "tap4.json"));
    symlinkSync(join(directory, "tap5.json"), join(directory, "tap5.json"));
    const documents = open({ directory });
    expect(hostnameOf(documents)).toBe("a");
    expect(documents.problems().map((problem) => problem.replace(`${directory}/`, ""))).toEqual([
      "tap*.json: the name is not the name of an interface or the UUID of an instance",
      "tap0.yaml: another file is about tap0 too; remove one",
      "tap1.json: not a file of at most 1048576 bytes",
      "tap2.yaml: not a file of at most 1048576 bytes",
      expect.stringContaining("tap5.json: cannot be read: ELOOP"),
    ]);
  });

  it("that is not there is a problem", () => {
    expect(open({ directory }).problems()).toEqual([
      expect.stringContaining(`cannot read the directory ${directory}: ENOENT`),
    ]);
  });
});

describe("the key of tokens", () => {
  it("is made once, for its owner alone", () => {
    const key = loadMetadataKey(stateDir);
    expect(key).toHaveLength(TOKEN_KEY_BYTES);
    expect(loadMetadataKey(stateDir)).toEqual(key);
    expect(statSync(metadataKeyFile(stateDir)).mode & 0o777).toBe(0o600);
    expect(key.every((byte) => byte === 0)).toBe(false);
  });

  it("that is damaged is an error which does not tell it", () => {
    loadMetadataKey(stateDir);
    const text = readFileSync(metadataKeyFile(stateDir), "utf8");
    writeFileSync(metadataKeyFile(stateDir), text.slice(2));
    expect(() => loadMetadataKey(stateDir)).toThrow(/metadata\.key is damaged; delete it/);
    expect(() => loadMetadataKey(stateDir)).not.toThrow(text.slice(2, 10));
  });
});
