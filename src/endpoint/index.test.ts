import { existsSync, readdirSync, readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import * as endpoint from "./index.ts";

const HERE = new URL("./", import.meta.url);
const ROOT = new URL("../../", HERE);

function read(url: URL): string {
  return readFileSync(url, "utf8");
}

/** The library's files, and all that they import, by following the imports. */
function filesOf(start: URL, seen = new Map<string, string>()): Map<string, string> {
  if (seen.has(start.href)) return seen;
  const text = read(start);
  seen.set(start.href, text);
  for (const [, from = ""] of text.matchAll(/\bfrom "(\.[^"]+)"/g)) filesOf(new URL(from, start), seen);
  return seen;
}

describe("the library runs anywhere", () => {
  const files = filesOf(new URL("index.ts", HERE));

  it("imports its own files alone: no node: modules, no packages", () => {
    expect(files.size).toBeGreaterThan(12);
    for (const [name, text] of files)
      for (const [, from] of text.matchAll(/(?:\bfrom |\bimport\(?)\s*"([^"]+)"/g))
        expect(from, name).toMatch(/^\.\.?\//);
  });

  it("uses nothing that only Node.js has", () => {
    for (const [name, text] of files)
      expect(text, name).not.toMatch(/\b(process|Buffer|require|__dirname)\b[.([]/);
  });

  it("has no file that is left out of it", () => {
    const all = readdirSync(HERE, { recursive: true, encoding: "utf8" }).filter(
      (name) => name.endsWith(".ts") && !/\.test\.ts$/.test(name),
    );
    expect(all.filter((name) => !files.has(new URL(name, HERE).href))).toEqual([]);
  });
});

describe("the package", () => {
  const { exports } = JSON.parse(read(new URL("package.json", ROOT)));

  it("exports it as onlink/endpoint, with types", () => {
    for (const path of Object.values<string>(exports["./endpoint"]))
      expect(
        existsSync(new URL(path.replace("./dist/", "src/").replace(/(\.d)?\.[jt]s$/, ".ts"), ROOT)),
      ).toBe(true);
    expect(JSON.parse(read(new URL("tsconfig.build.json", ROOT))).compilerOptions.declaration).toBe(true);
  });
});

/** Examples: in doc comments after `@example`, and in the page's blocks of JavaScript. */
const EXAMPLES = [
  ...readdirSync(HERE)
    .filter((name) => name.endsWith(".ts") && !name.endsWith(".test.ts"))
    .flatMap((name) =>
      [...read(new URL(name, HERE)).matchAll(/@example\n([\s\S]*?)\n \*\/\nexport function (\w+)/g)].map(
        ([, code = "", called = ""]) => ({ place: `${name}: ${called}`, code: code.replace(/^ \* ?/gm, "") }),
      ),
    ),
  ...[...read(new URL("docs/guests.md", ROOT)).matchAll(/^```js\n([\s\S]*?)^```$/gm)].map(
    ([, code = ""], index) => ({
      place: `docs/guests.md: example ${index + 1}`,
      code: code.replace(/^import .*\n/gm, ""),
    }),
  ),
];

describe("examples", () => {
  it("are there for each of the three steps, and on the page", () => {
    const places = EXAMPLES.map(({ place }) => place).join("\n");
    for (const place of [
      "detect.ts: parseTables",
      "decide.ts: decide",
      "explain.ts: explain",
      "docs/guests.md",
    ])
      expect(places).toContain(place);
  });

  it.each(EXAMPLES)("$place gives what its comments say", ({ code }) => {
    const said: unknown[] = [];
    const given: unknown[] = [];
    // `expression; // value` becomes two entries to compare.
    const body = code.replace(
      /^(\s*)(?!const )(.+); \/\/ (.+)$/gm,
      (_all, indent, expression, value) => `${indent}given.push(${expression}); said.push(${value});`,
    );
    new Function(...Object.keys(endpoint), "given", "said", body)(...Object.values(endpoint), given, said);
    expect(given.length).toBeGreaterThan(0);
    expect(given).toEqual(said);
  });
});
