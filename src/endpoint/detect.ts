/**
 * Finds, in whatever was pasted, the outputs that are known: several commands one after another, with prompts, indentation,
 * lines that a narrow terminal wrapped, in any language. It goes by the shape of the rows; headings are recognised only by
 * standing in the same paragraph as rows.
 */
import { bsdReaders } from "./formats/bsd.ts";
import { iproute2Readers } from "./formats/iproute2.ts";
import { netToolsReaders } from "./formats/net-tools.ts";
import { objectReaders } from "./formats/objects.ts";
import { powershellReaders } from "./formats/powershell.ts";
import type { Reader, Section, Taken } from "./formats/reader.ts";
import { isIpv6, mac, wordsOf } from "./formats/values.ts";
import { windowsReaders } from "./formats/windows.ts";
import type { Format, InterfaceAddress, Neighbour, NotUnderstood, Route, System, Tables } from "./types.ts";

/** In the order in which they are asked: those with stricter rows first. */
const READERS: readonly Reader[] = [
  ...objectReaders,
  ...iproute2Readers,
  ...netToolsReaders,
  ...bsdReaders,
  ...powershellReaders,
  ...windowsReaders,
];

/** What a line of the text turned out to be. */
export type LineUse = "row" | "heading" | "ipv6" | "prompt" | "blank" | "unknown";

/** Formats whose rows are made of keywords, so that more of them on the next line are a wrapped line for certain. */
const KEYWORDED: ReadonlySet<Format> = new Set(["ip-route", "ip-neigh"]);

/** A prompt with the command after it: cmd, PowerShell, `user@host:~$`, `[user@host ~]#`, zsh on macOS, a bare `$` or `#`. */
const PROMPT =
  /^\s*(?:PS [^>]*>|[A-Z]:\\[^>]*>|(?:\(\S+\) ?)?\[?[\w.-]+@[\w.-]+(?::\S*| ?\S*)\]? ?[$#%](?=\s|$)|[$#%](?=\s|$))/i;

/** What cmd says when it starts. */
const BANNER = /^\s*(Microsoft Windows \[|\(c\) .*Microsoft)/;

/** A line that only separates: `=====`, `------  -----`. */
const RULE = /^\s*[=-][=\s-]*$/;

/** Escape sequences for colours (`ip -c`), and what is left of UTF-16 that was read as single bytes. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for.
const NO_TEXT = /\u001b\[[0-9;]*[A-Za-z]|[\ufeff\0]/g;

/** Rows taken from the text, with the first line of each. */
interface Found extends Taken {
  line: number;
}

/**
 * Reads all tables out of a paste. Never throws, whatever the text; what was not understood is told line by line.
 *
 * @example
 * const tables = parseTables("$ ip route\ndefault via 10.0.1.1 dev ens3\n");
 * tables.system; // "linux"
 * tables.routes[0]?.gateway; // "10.0.1.1"
 */
export function parseTables(text: string): Tables {
  const { lines, uses, found } = readLines(text);
  const outputs: Tables["outputs"] = [];
  const routes: Route[] = [];
  const neighbours: Neighbour[] = [];
  const addresses: InterfaceAddress[] = [];
  let below = 0;
  for (const { format, line, facts } of found) {
    const hasPrompt = uses.slice(below, line).includes("prompt");
    below = line;
    if (outputs.at(-1)?.format !== format || hasPrompt) outputs.push({ format, line });
    for (const { fact, ...row } of facts) {
      if (fact === "route") routes.push({ ...(row as Omit<Route, "line">), line });
      else if (fact === "neighbour") neighbours.push({ ...(row as Omit<Neighbour, "line">), line });
      else addresses.push({ ...(row as Omit<InterfaceAddress, "line">), line });
    }
  }
  const notUnderstood: NotUnderstood[] = lines.flatMap((line, index) =>
    uses[index] === "unknown" ? [{ line: index + 1, text: line.trim() }] : [],
  );
  const system = systemOf(found);
  return {
    ...(system === undefined ? {} : { system }),
    outputs,
    routes,
    neighbours,
    addresses,
    notUnderstood,
  };
}

/** The lines of a text, what each of them is, and the rows found. */
export function readLines(text: string): { lines: string[]; uses: LineUse[]; found: Found[] } {
  const lines = text.replace(NO_TEXT, "").split(/\r*\n|\r/);
  const uses: LineUse[] = [];
  const found: Found[] = [];
  let section: { format: Format; of: Section } | undefined;
  /** Lines so far of one that was wrapped. */
  let wrapped: { text: string; count: number } | undefined;

  function take(taken: Taken, line: number): void {
    if (taken.section !== undefined) section = { format: taken.format, of: taken.section };
    else if (section?.format !== taken.format) section = undefined;
    const { mac: ownMac, ...ref } = section?.of ?? {};
    found.push({
      ...taken,
      line,
      facts: taken.facts.map((fact) => {
        if (fact.fact === "route") return fact;
        if (fact.fact === "neighbour") return { ...ref, ...fact };
        return { ...ref, ...(ownMac === undefined ? {} : { mac: ownMac }), ...fact };
      }),
    });
  }

  for (let at = 0; at < lines.length; ) {
    const line = lines[at]!;
    const plain = plainUse(line);
    if (plain !== undefined) {
      if (plain === "prompt") section = undefined;
      uses.push(plain);
      wrapped = undefined;
      at += 1;
      continue;
    }
    const taken = read(lines, at, section?.of);
    if (taken !== undefined) {
      take(taken, at + 1);
      for (let count = 0; count < taken.lines; count++) uses.push("row");
      at += taken.lines;
      wrapped = taken.lines === 1 && KEYWORDED.has(taken.format) ? { text: line, count: 1 } : undefined;
      continue;
    }
    // What is not a row by itself may be the rest of the line before.
    const joined = wrapped === undefined ? undefined : readJoined(wrapped.text, line, section?.of);
    if (wrapped !== undefined && joined !== undefined) {
      const first = at - wrapped.count;
      if (uses[first] === "row") found.pop();
      take(joined.taken, first + 1);
      uses.fill("row", first);
      uses.push("row");
      wrapped = KEYWORDED.has(joined.taken.format)
        ? { text: joined.text, count: wrapped.count + 1 }
        : undefined;
    } else {
      uses.push(isIpv6Row(line) ? "ipv6" : "unknown");
      wrapped = { text: line, count: 1 };
    }
    at += 1;
  }
  return { lines, uses: withHeadings(lines, uses), found };
}

function plainUse(line: string): LineUse | undefined {
  if (line.trim() === "") return "blank";
  if (RULE.test(line) || BANNER.test(line)) return "heading";
  return PROMPT.test(line) ? "prompt" : undefined;
}

/** A row about IPv6 alone. An IPv4 route whose next hop is an IPv6 address (RFC 5549) is not passed over like one. */
function isIpv6Row(line: string): boolean {
  return wordsOf(line).some(isIpv6) && !/\d\.\d+\.\d+\.\d| via inet6 /.test(line);
}

function read(lines: readonly string[], at: number, section: Section = {}): Taken | undefined {
  for (const reader of READERS) {
    const taken = reader(lines, at, section);
    if (taken !== undefined) return taken;
  }
  return undefined;
}

/** Both lines as one: cut within a word, or between two. */
function readJoined(
  before: string,
  line: string,
  section: Section = {},
): { taken: Taken; text: string } | undefined {
  for (const text of [before + line, `${before} ${line}`, before + line.trimStart()]) {
    const taken = read([text], 0, section);
    if (taken !== undefined && taken.facts.length > 0) return { taken, text };
  }
  return undefined;
}

/** Marks as headings the unknown lines without any value that stand in one paragraph with rows or rules. */
function withHeadings(lines: readonly string[], uses: readonly LineUse[]): LineUse[] {
  const result = [...uses];
  for (let start = 0; start < uses.length; ) {
    let end = start;
    while (end < uses.length && uses[end] !== "blank" && uses[end] !== "prompt") end += 1;
    const paragraph = uses.slice(start, end);
    if (paragraph.some((use) => use === "row" || use === "ipv6" || use === "heading")) {
      for (let at = start; at < end; at++)
        if (uses[at] === "unknown" && !wordsOf(lines[at]!).some(isValue)) result[at] = "heading";
    }
    start = end + 1;
  }
  return result;
}

/** Whether a word may be an address, prefix or MAC, or a part of one. */
function isValue(word: string): boolean {
  return /\d\.\d|\d\/\d|[[\]{}"]/.test(word) || mac(word) !== undefined || isIpv6(word);
}

/** The system that prints a format; the BSDs' share theirs, and then the names of interfaces tell. */
const SYSTEMS: Record<Format, System | undefined> = {
  "windows-route-print": "windows",
  "get-net-route": "windows",
  "windows-arp-a": "windows",
  "netsh-neighbors": "windows",
  "get-net-neighbor": "windows",
  ipconfig: "windows",
  "ip-route": "linux",
  "ip-neigh": "linux",
  "ip-addr": "linux",
  "route-n": "linux",
  "arp-n": "linux",
  "netstat-rn": undefined,
  "bsd-arp-a": undefined,
};

/** The one system that printed all of it, if it was one. */
function systemOf(found: readonly Found[]): System | undefined {
  const known = new Set(found.flatMap(({ format }) => SYSTEMS[format] ?? []));
  const names = found.flatMap(({ format, facts }) =>
    SYSTEMS[format] === undefined ? facts.flatMap((fact) => fact.interface ?? []) : [],
  );
  if (names.length > 0) {
    if (names.some((name) => /^(eth|ens|enp|eno|wlan|wlp|veth)/.test(name))) known.add("linux");
    else known.add(names.some((name) => /^(en|utun|awdl|llw)\d/.test(name)) ? "macos" : "bsd");
  }
  const [system] = known;
  return known.size === 1 ? system : undefined;
}
