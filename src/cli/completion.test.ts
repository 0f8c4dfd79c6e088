/** The completions, made of the commands themselves; bash's is run by bash. */
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { type CommandNode, describeCommand } from "./command-tree.ts";
import { bashCompletion, fishCompletion, zshCompletion } from "./completion.ts";
import { commandLine, main } from "./main.ts";

const program = describeCommand(commandLine(() => {}));

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "onlink-completion-"));
  writeFileSync(join(folder, "completion.bash"), bashCompletion(program));
  mkdirSync(join(folder, "files", "a folder"), { recursive: true });
  writeFileSync(join(folder, "files", "my config.yaml"), "");
});
afterAll(() => rmSync(folder, { recursive: true }));

/** What bash proposes for a command line; its last word is the one that is completed. */
function complete(...words: string[]): string[] {
  const script = `
    set -u
    . "$1"; shift
    [[ "$(complete -p onlink)" == "complete -F _onlink onlink" ]] || exit 1
    COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
    _onlink
    (( \${#COMPREPLY[@]} == 0 )) || printf '%s\\n' "\${COMPREPLY[@]}"`;
  const arguments_ = ["-c", script, "bash", join(folder, "completion.bash"), ...words];
  const options = { cwd: join(folder, "files"), encoding: "utf8" } as const;
  return execFileSync("bash", ["--norc", ...arguments_], options)
    .split("\n")
    .slice(0, -1);
}

describe("bash", () => {
  it("completes commands, and those below them", () => {
    expect(complete("onlink", "stat")).toEqual(["status"]);
    expect(complete("onlink", "interface", "")).toEqual(expect.arrayContaining(["add", "remove", "show"]));
    expect(complete("onlink", "--verbose", "interface", "sh")).toEqual(["show"]);
    const all = complete("onlink", "");
    for (const { name } of program.commands) expect(all).toContain(name);
  });

  it("completes the options of the command, and no others", () => {
    expect(complete("onlink", "status", "--j")).toEqual(["--json"]);
    expect(complete("onlink", "interface", "add", "--inst")).toEqual(["--instance-id"]);
    expect(complete("onlink", "status", "--follow")).toEqual([]);
    expect(complete("onlink", "events", "--follow", "--fl")).toEqual(["--flows"]);
  });

  it("completes values: choices, files, directories, interfaces", () => {
    expect(complete("onlink", "flows", "--protocol", "")).toEqual(["tcp", "udp", "icmp"]);
    expect(complete("onlink", "flows", "--json", "--state", "est")).toEqual(["established"]);
    expect(complete("onlink", "completion", "")).toEqual(["bash", "zsh", "fish"]);
    expect(complete("onlink", "check", "--config", "my")).toEqual(["my config.yaml"]);
    expect(complete("onlink", "down", "--runtime-dir", "")).toEqual(["a folder"]);
    expect(complete("onlink", "trace", "m")).toEqual(["my config.yaml"]);
    const interfaces = readdirSync("/sys/class/net");
    expect(complete("onlink", "flows", "--interface", "")).toEqual(interfaces.sort());
    expect(complete("onlink", "interface", "show", "l")).toContain("lo");
    expect(complete("onlink", "flows", "--guest", "")).toEqual([]);
  });

  it("takes a value that is the name of a command for a value", () => {
    expect(complete("onlink", "flows", "--service", "run", "--pro")).toEqual(["--protocol"]);
  });
});

/** Every word that a completion must know. */
function wordsOf(node: CommandNode): string[] {
  return [
    ...node.options.flatMap(({ flags, value }) => [
      ...flags,
      ...(typeof value === "object" ? value.choices : []),
    ]),
    ...node.commands.flatMap((below) => [below.name, ...wordsOf(below)]),
  ];
}

describe("every shell", () => {
  it.each([
    ["bash", bashCompletion(program)],
    ["zsh", zshCompletion(program)],
    // There an option's name is given without its dashes.
    [
      "fish",
      fishCompletion(program)
        .replaceAll(/ -l (\S+)/g, " --$1")
        .replaceAll(/ -s (\S)/g, " -$1"),
    ],
  ])("%s knows all words of the command line", (_shell, script) => {
    const words = wordsOf(program);
    expect(words).toEqual(expect.arrayContaining(["--json", "--answer-arp", "networkd", "show"]));
    const known = new Set(script.split(/[\s"'()[\]|:]+/));
    expect(words.filter((word) => !known.has(word))).toEqual([]);
  });

  it("is printed by onlink completion; others are refused", async () => {
    let out = "";
    vi.spyOn(process.stdout, "write").mockImplementation((text) => {
      out += text;
      return true;
    });
    vi.spyOn(process.stderr, "write").mockReturnValue(true);
    try {
      expect(await main(["completion", "bash"])).toBe(0);
      expect(await main(["completion", "tcsh"])).toBe(2);
    } finally {
      vi.restoreAllMocks();
    }
    expect(out).toBe(bashCompletion(program));
  });
});
