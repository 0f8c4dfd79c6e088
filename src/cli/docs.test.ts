/** The pages for users hold what the code has: every field, command, option and counter, and examples that parse. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { afterEach, describe, expect, it, vi } from "vitest";
import { parse } from "yaml";
import { agentEventSchema } from "../agent/event.ts";
import { parseDuration } from "../config/duration.ts";
import { guestMetadataSchema } from "../config/guest-metadata.ts";
import { parseConfig } from "../config/load.ts";
import { configSchema } from "../config/schema.ts";
import { REASONS } from "../datapath/layout.ts";
import { EXIT } from "./exit-codes.ts";
import { main } from "./main.ts";

const ROOT = new URL("../../", import.meta.url);
const PAGES = [
  "README.md",
  ...readdirSync(new URL("docs/", ROOT)).flatMap((name) => (name.endsWith(".md") ? [`docs/${name}`] : [])),
];

/** All of the C and TypeScript, tests left out. */
const SOURCES = ["bpf/", "src/"]
  .flatMap((folder) =>
    readdirSync(new URL(folder, ROOT), { recursive: true, encoding: "utf8" })
      .filter((name) => /\.[ch]$|(?<!\.test)\.ts$/.test(name))
      .map((name) => page(folder + name)),
  )
  .join("\n");

function page(name: string): string {
  return readFileSync(new URL(name, ROOT), "utf8");
}

/** The cells of each row of a page's tables; a bar within a cell would need an escape, so no page has one. */
function tableRows(name: string): string[][] {
  return page(name)
    .split("\n")
    .filter((line) => line.startsWith("|"))
    .map((line) =>
      line
        .slice(1, -1)
        .split("|")
        .map((cell) => cell.trim()),
    );
}

/** The code in a cell that holds nothing else, such as `name`. */
function codeIn(cell: string | undefined): string | undefined {
  return /^`([^`]+)`$/.exec(cell ?? "")?.[1];
}

/** The YAML blocks of a page, each with the line that it begins on. */
function yamlBlocks(name: string): Array<{ place: string; text: string }> {
  const text = page(name);
  return [...text.matchAll(/^ *```ya?ml[^\n]*\n(.*?)^ *```$/gms)].map((match) => ({
    place: `${name}:${text.slice(0, match.index).split("\n").length}`,
    text: match[1] ?? "",
  }));
}

describe.each(["ARCHITECTURE.md", "CONTRIBUTING.md"])("%s", (name) => {
  it("names files and folders that are there", () => {
    const paths = [...page(name).matchAll(/`((?:bpf|src|test|docs|scripts)\/[\w./-]*)`/g)].map(
      ([, path = ""]) => path,
    );
    expect(paths.length).toBeGreaterThan(5);
    expect(paths.filter((path) => !existsSync(new URL(path, ROOT)))).toEqual([]);
  });

  it("names functions that are there", () => {
    const functions = [...page(name).matchAll(/`(\w+)\(\)`/g)].map(([, called = ""]) => called);
    expect(functions.length).toBeGreaterThan(0);
    expect(functions.filter((called) => !new RegExp(`\\b${called}\\(`).test(SOURCES))).toEqual([]);
  });
});

describe("examples of configurations", () => {
  const examples = PAGES.flatMap(yamlBlocks);

  it("are in the README and on the page about configuration", () => {
    for (const name of ["README.md", "docs/configuration.md"])
      expect(
        examples.some(({ place }) => place.startsWith(`${name}:`)),
        name,
      ).toBe(true);
  });

  it.each(examples)("$place is right", ({ place, text }) => {
    const result = parseConfig(text, place);
    expect(result.ok ? [] : result.errors).toEqual([]);
  });
});

/** What the walk needs to know of a zod schema: an object's fields, a list's entry, or what is wrapped. */
interface Walkable {
  shape?: Record<string, Walkable>;
  element?: Walkable;
  in?: Walkable;
  unwrap?: () => Walkable;
}

/** Every field below a schema that holds a value, such as `services[].port`. */
function fieldsOf(schema: Walkable, path = ""): string[] {
  if (schema.shape !== undefined) {
    return Object.entries(schema.shape).flatMap(([name, field]) =>
      fieldsOf(field, path === "" ? name : `${path}.${name}`),
    );
  }
  if (schema.element !== undefined) {
    const inside = fieldsOf(schema.element, `${path}[]`);
    return inside.length === 1 && inside[0] === `${path}[]` ? [path] : inside;
  }
  const wrapped = schema.unwrap?.() ?? schema.in;
  return wrapped === undefined ? [path] : fieldsOf(wrapped, path);
}

describe("docs/metadata-builtin.md", () => {
  it("has a row for each field that can be said about a guest, and no others", () => {
    const rows = tableRows("docs/metadata-builtin.md").flatMap(([field]) => codeIn(field) ?? []);
    const fields = fieldsOf(guestMetadataSchema.out as unknown as Walkable);
    expect(fields).toContain("credentials.role");
    expect(rows.filter((row) => !row.includes(" "))).toEqual(fields);
  });
});

describe("docs/configuration.md", () => {
  const rows = tableRows("docs/configuration.md").filter(([field]) => codeIn(field) !== undefined);

  it("has a row for each field that the agent takes, and no others", () => {
    const fields = fieldsOf(configSchema as unknown as Walkable);
    expect(fields).toContain("services[].backends");
    expect(rows.map(([field]) => codeIn(field))).toEqual(fields);
  });

  it("tells the defaults as they are", () => {
    const least = parseConfig(
      `{services: [{name: a, address: 169.254.1.1, port: 1, backends: ["127.0.0.1:1"], healthCheck: {type: tcp}}], interfaces: [{name: v}],
        metadata: {proxy: {upstream: "http://127.0.0.1"}}}`,
      "least.yaml",
    );
    if (!least.ok) throw new Error(JSON.stringify(least.errors));
    for (const [field, , told] of rows) {
      const path = codeIn(field)?.replaceAll("[]", ".0").split(".") ?? [];
      const value = path.reduce<unknown>(
        (at, name) => (at as Record<string, unknown> | undefined)?.[name],
        least.config,
      );
      if (told === "none") expect(value, field).toBeUndefined();
      else if (told !== "required") {
        const text = codeIn(told) ?? "";
        // A protocol stands for the list of it alone.
        expect([value].flat(), field).toEqual([parseDuration(text) ?? parse(text)].flat());
      }
    }
  });
});

describe("docs/counters.md", () => {
  const reasons = Object.keys(REASONS).sort();

  it.each([
    ["what it means", 4],
    ["what to do", 2],
  ])("tells for each counter %s", (_what, columns) => {
    const rows = tableRows("docs/counters.md").filter((row) => row.length === columns);
    expect(rows.flatMap(([reason]) => codeIn(reason) ?? []).sort()).toEqual(reasons);
  });
});

describe("docs/events.md", () => {
  it("tells of each kind of event", () => {
    const kinds = agentEventSchema.options.map(({ shape }) => shape.kind.value);
    expect(kinds.length).toBeGreaterThan(5);
    const told = tableRows("docs/events.md").flatMap(([kind]) => codeIn(kind) ?? []);
    expect(told.sort()).toEqual(kinds.sort());
  });
});

describe("docs/commands.md", () => {
  afterEach(() => {
    vi.restoreAllMocks();
  });

  /** What `onlink ARGS --help` prints. */
  async function help(...args: string[]): Promise<string> {
    let text = "";
    vi.spyOn(process.stdout, "write").mockImplementation((chunk) => {
      text += chunk;
      return true;
    });
    expect(await main([...args, "--help"])).toBe(0);
    return text;
  }

  /** The page by the headings of its second rank. */
  const sections = new Map(
    page("docs/commands.md")
      .split(/^## /m)
      .map((section) => [section.split("\n", 1)[0] ?? "", section]),
  );

  /** The commands below one, each by all its words; itself where it has none. */
  async function commandsBelow(...words: string[]): Promise<string[]> {
    const [, list = ""] = (await help(...words)).split(/^Commands:$/m);
    const names = [...list.matchAll(/^ {2}([a-z]+) /gm)].flatMap(([, name = ""]) =>
      name === "help" ? [] : [name],
    );
    if (names.length === 0) return [words.join(" ")];
    const all: string[] = [];
    for (const name of names) all.push(...(await commandsBelow(...words, name)));
    return all;
  }

  it("has a section for each command, with each of its options", async () => {
    const commands = await commandsBelow();
    expect(commands).toContain("run");
    expect(commands).toContain("interface add");
    expect([...sections.keys()].filter((heading) => heading.startsWith("onlink ")).sort()).toEqual(
      commands.map((name) => `onlink ${name}`).sort(),
    );
    for (const name of commands) {
      const text = await help(...name.split(" "));
      const options = [...text.matchAll(/^ {2}(?:-\w, )?(--[a-z-]+)/gm)].flatMap(([, option = ""]) =>
        option === "--help" ? [] : [option],
      );
      const told = [...(sections.get(`onlink ${name}`) ?? "").matchAll(/^\| `(--[a-z-]+)/gm)].map(
        ([, option]) => option,
      );
      expect(told.sort(), name).toEqual(options.sort());
    }
  });

  it("tells every exit status", () => {
    const told = [...(sections.get("Exit status") ?? "").matchAll(/^\| (\d+) /gm)].map(([, status]) =>
      Number(status),
    );
    expect(told).toEqual(expect.arrayContaining(Object.values(EXIT)));
  });
});
