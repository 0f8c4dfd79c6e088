import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino } from "pino";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { parseConfig } from "../config/load.ts";
import { removeJsonFolder } from "./json-folder.ts";
import {
  openRegisteredInterfaces,
  readRegistration,
  registrationsDir,
  removeRegistration,
} from "./registered-interfaces.ts";

const result = parseConfig(
  `
services: [{ name: web, address: 169.254.169.254, port: 80, backends: ["127.0.0.1:80"] }]
interfaces: [{ name: "tap*" }, { name: veth-web }]
`,
  "test.yaml",
);
if (!result.ok) throw new Error("wrong configuration");
const { config } = result;
const read = (name: string, content: unknown) => readRegistration(name, content, config, "/etc/test.yaml");

let stateDir: string;
let lines: Array<{ file?: string; reason?: string }>;
const open = () =>
  openRegisteredInterfaces(
    stateDir,
    pino({ base: null }, { write: (line) => void lines.push(JSON.parse(line)) }),
  );
beforeEach(() => {
  stateDir = mkdtempSync(join(tmpdir(), "onlink-registered-"));
  lines = [];
});
afterEach(() => rmSync(stateDir, { recursive: true }));

describe("registered interfaces", () => {
  it("survive a restart, for their owner alone", () => {
    const rule = {
      name: "tap0",
      instanceId: "6f3a0a3e-3b1c-4f0e-9a53-1f3a6a1d2c11",
      mac: "02:00:0a:00:01:03",
    };
    open().put({ name: "tap0" });
    open().put(rule);
    open().put({ name: "..." });
    const again = open();
    expect([...again.names()].sort()).toEqual(["...", "tap0"]);
    expect(again.get("tap0")).toEqual({ rule, disabled: false });
    expect(statSync(join(registrationsDir(stateDir), "tap0.json")).mode & 0o777).toBe(0o600);

    expect(again.remove("tap0")).toBe(true);
    expect(again.remove("tap0")).toBe(false);
    expect([...open().names()]).toEqual(["..."]);
    expect(lines).toEqual([]);
  });

  it("stay where the file cannot be removed", () => {
    const interfaces = open();
    interfaces.put({ name: "tap0" });
    const file = join(registrationsDir(stateDir), "tap0.json");
    rmSync(file);
    mkdirSync(file);
    expect(() => interfaces.remove("tap0")).toThrow();
    expect(interfaces.get("tap0")).toBeDefined();
  });

  it.each([
    ["{", "JSON"],
    ["[]", "is not a map"],
    ['{"name":"tap1"}', 'name: "tap1" is not "tap0"'],
    ['{"mac":"01:00:5e:00:00:01"}', "is not the MAC of an interface"],
    ['{"colour":"red"}', 'unknown field "colour"'],
  ])("%s is left out, and as it is, and the log says why", (text, reason) => {
    open().put({ name: "tap9" });
    const file = join(registrationsDir(stateDir), "tap0.json");
    writeFileSync(file, text);
    const registered = open();
    expect([...registered.names()]).toEqual(["tap9"]);
    expect(readFileSync(file, "utf8")).toBe(text);
    expect(lines).toEqual([expect.objectContaining({ file, reason: expect.stringContaining(reason) })]);
    expect(registered.remove("tap0")).toBe(true);
    expect(readdirSync(registrationsDir(stateDir))).toEqual(["tap9.json"]);
  });

  it("are not changed by what cannot be saved", () => {
    const registered = open();
    registered.put({ name: "tap0" });
    rmSync(registrationsDir(stateDir), { recursive: true });
    writeFileSync(registrationsDir(stateDir), "no folder");
    expect(() => registered.put({ name: "tap0", mac: "02:00:0a:00:01:03" })).toThrow("ENOTDIR");
    expect(registered.get("tap0")).toEqual({ rule: { name: "tap0" }, disabled: false });
  });

  it("go with their folder, without what others put there", () => {
    open().put({ name: "tap0" });
    const dir = registrationsDir(stateDir);
    writeFileSync(join(dir, "tap1.json.new"), "{");
    expect(removeJsonFolder(dir)).toBe(true);
    expect(existsSync(dir)).toBe(false);
    expect(removeJsonFolder(dir)).toBe(false);
    open().put({ name: "tap0" });
    writeFileSync(join(dir, "notes"), "");
    removeJsonFolder(dir);
    expect(readdirSync(dir)).toEqual(["notes"]);
  });
});

describe("a registration", () => {
  it("is the rule of its interface", () => {
    expect(read("tap0", { addresses: ["10.0.1.3"], mac: "02:00:0A:00:01:03" })).toEqual({
      name: "tap0",
      addresses: ["10.0.1.3"],
      mac: "02:00:0a:00:01:03",
    });
    expect(read("tap0", { name: "tap0" })).toEqual({ name: "tap0" });
  });

  it.each([
    ["tap*", {}, ['name: "tap*" is a pattern; expected the name of one interface']],
    ["a/b", {}, [expect.stringContaining('name: "a/b" is not the name of an interface or a pattern')]],
    ["lo", {}, ['name: "lo" is the loopback interface; expected another']],
    ["onlink0p", {}, [`name: "onlink0p" is the agent's own device (agent.device); expected another`]],
    ["tap0", null, [expect.stringContaining("empty; expected a map")]],
    [
      "tap0",
      { mac: "x", addresses: [] },
      [
        "addresses: an empty list; expected at least one IPv4 address",
        'mac: "x" is not the MAC of an interface; expected one like 02:00:0a:00:01:03',
      ],
    ],
    [
      "tap0",
      { gateway: { address: "169.254.169.254", answerArp: true } },
      [
        "gateway.address: 169.254.169.254 is the service address of services[0] of the configuration; expected the guest's gateway",
      ],
    ],
    [
      "tap0",
      { addresses: ["10.0.1.3"], gateway: { address: "10.0.1.3", answerArp: true } },
      ["gateway.address: 10.0.1.3 is one of the guest's own addresses; expected the guest's gateway"],
    ],
    ["veth-web", { colour: "red" }, ["veth-web is configured in /etc/test.yaml; change it there"]],
  ])("of %s with %j: %s", (name, content, errors) => {
    let message = "";
    try {
      read(name, content);
    } catch (error) {
      message = (error as Error).message;
    }
    expect(message.split("\n")).toEqual(errors);
  });

  it("is removed where there is one", () => {
    const registered = open();
    registered.put({ name: "tap0" });
    const remove = (name: string) => () => removeRegistration(name, registered, config, "/etc/test.yaml");
    remove("tap0")();
    expect(remove("tap0")).toThrow("tap0 is not registered");
    expect(remove("veth-web")).toThrow("veth-web is configured in /etc/test.yaml; change it there");
  });
});
