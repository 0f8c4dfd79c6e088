/** Windows' `route print`, `arp -a`, `netsh interface ipv4 show neighbors` and `ipconfig`, in any language. */
import type { Fact, Reader, Taken } from "./reader.ts";
import {
  address,
  isIpv6,
  mac,
  maskLength,
  neighbourState,
  number,
  prefix,
  windowsNeighbour,
  wordsOf,
} from "./values.ts";

/**
 * `route print`. An active route has five columns: destination, netmask, gateway (or words such as `On-link`), interface by its
 * address, metric. A persistent one has four: no interface, and a word such as `Default` may stand for the metric.
 */
export const routePrint: Reader = (lines, at) => {
  const line = lines[at] ?? "";
  const words = wordsOf(line);
  const taken = (facts: Fact[]): Taken => ({ format: "windows-route-print", lines: 1, facts });
  // The list of interfaces at its top: " 12...00 15 5d 01 02 03 ......Microsoft Hyper-V Network Adapter"
  if (/^\s*\d+\.\.\./.test(line)) return taken([]);

  const of = address(words[0]);
  const length = maskLength(words[1]);
  if (of === undefined || length === undefined || words.length < 4) return undefined;
  const destination = prefix(of, length);
  const metric = number(words.at(-1));

  const interfaceAddress = address(words.at(-2));
  if (words.length >= 5 && metric !== undefined && interfaceAddress !== undefined) {
    const gateway = gatewayColumn(words.slice(2, -2));
    if (gateway === undefined) return undefined;
    // Windows XP writes the interface's own address, or the loopback address, for what is on-link.
    const onLink = gateway === "on-link" || gateway === interfaceAddress || gateway === "127.0.0.1";
    return taken([
      {
        fact: "route",
        destination,
        ...(onLink ? {} : { gateway }),
        interfaceAddress,
        metric,
        ...(destination === `${interfaceAddress}/32` || gateway === "127.0.0.1" ? { local: true } : {}),
      },
    ]);
  }
  const gateway = address(words[2]);
  const rest = words.slice(3);
  if (
    gateway === undefined ||
    (metric === undefined && !areWords(rest)) ||
    (metric !== undefined && rest.length > 1)
  )
    return undefined;
  return taken([
    { fact: "route", destination, gateway, ...(metric === undefined ? {} : { metric }), persistent: true },
  ]);
};

/** `On-link`, `Auf Verbindung`, ...: words without digits; or one address. */
function gatewayColumn(words: readonly string[]): string | undefined {
  return words.length === 1 && address(words[0]) !== undefined
    ? words[0]
    : areWords(words)
      ? "on-link"
      : undefined;
}

function areWords(words: readonly string[]): boolean {
  return words.length > 0 && words.length < 4 && words.every((word) => !/[\d:]/.test(word));
}

/** The types that `arp -a` of Windows has, by how they begin in the languages whose letters are Latin. */
const ARP_TYPES = /^(dyn|din|stat|est)/i;

/** Rows of `arp -a` and of netsh look alike: address, MAC or nothing, type. The heading above tells them apart, or the type. */
const windowsNeighbours: Reader = (lines, at, section) => {
  const words = wordsOf(lines[at] ?? "");
  const of = address(words[0]);
  if (of === undefined) return undefined;
  const macText = mac(words[1]) === undefined || words.length === 2 ? undefined : words[1];
  const type = words.slice(macText === undefined ? 1 : 2);
  // Two addresses in a row, or no type at all, are something else.
  if (!areWords(type) || mac(type[0]) !== undefined) return undefined;
  // Without a MAC it is a row only below a heading of either, or with a word that is known: it could be anything.
  if (macText === undefined && section.interfaceIndex === undefined && neighbourState(type[0]) === undefined)
    return undefined;
  const isArp = section.interfaceAddress !== undefined || ARP_TYPES.test(type[0] ?? "");
  return {
    format: isArp ? "windows-arp-a" : "netsh-neighbors",
    lines: 1,
    facts: [{ fact: "neighbour", address: of, ...windowsNeighbour(macText, type[0]) }],
  };
};

/** `Interface: 10.0.0.10 --- 0x5` above the rows of `arp -a`. */
const arpHeading: Reader = (lines, at) => {
  const found = /^\s*\p{L}+\s?:\s+(\S+)\s+---\s+0x([0-9a-f]+)\s*$/iu.exec(lines[at] ?? "");
  const interfaceAddress = address(found?.[1]);
  if (interfaceAddress === undefined) return undefined;
  const interfaceIndex = Number.parseInt(found![2]!, 16);
  return { format: "windows-arp-a", lines: 1, facts: [], section: { interfaceAddress, interfaceIndex } };
};

/** `Interface 12: Ethernet` above the rows of netsh. */
const netshHeading: Reader = (lines, at) => {
  const found = /^\s*\p{L}+ (\d+)\s?: (\S.*)$/u.exec(lines[at] ?? "");
  if (found === null || /\d\.\d/.test(found[2]!)) return undefined;
  return {
    format: "netsh-neighbors",
    lines: 1,
    facts: [],
    section: { interfaceIndex: Number(found[1]), interface: found[2]!.trim() },
  };
};

/** `   IPv4 Address. . . . . . . . . . . : 10.0.0.10(Preferred)`, or `Label: value` where the label fills the column. */
const LABELLED = /^\s+(\S.*?)(?:[ .]*\. ?: ?|\s?:\s)(.*)$/u;

/**
 * One adapter of `ipconfig`: its name, then labelled values. Labels are translated, so values go by shape and order: a MAC; an
 * address followed by its netmask; then the first label with an address or nothing is the default gateway (leases are dates),
 * and what is indented deeper belongs to the label before.
 */
export const ipconfig: Reader = (lines, at) => {
  // "Ethernet adapter Ethernet 2:", not indented, the values below it after at most one blank line.
  const heading = /^(\S.*\S)\s?:\s*$/u.exec(lines[at] ?? "");
  let next = at + 1;
  if (heading !== null && (lines[next] ?? "").trim() === "") next += 1;
  if (heading === null) next = at;
  // Some line nearby has the dotted column; the first one's label may fill it.
  if (!LABELLED.test(lines[next] ?? "") || !lines.slice(next, next + 3).some((line) => /\. ?:/.test(line)))
    return undefined;

  const addresses: Array<Extract<Fact, { fact: "address" }>> = [];
  const gateways: string[] = [];
  let ownMac: string | undefined;
  let state: "before" | "masked" | "gateway" | "after" = "before";
  const first = next;
  for (; next < lines.length; next++) {
    const line = lines[next]!;
    const labelled = LABELLED.exec(line);
    const value = (labelled?.[2] ?? line).trim().replace(/\(.*\)$/, "");
    if (labelled === null) {
      // More values of the same label.
      if (!/^\s{8,}\S+\s*$/.test(line) || (address(value) === undefined && !isIpv6(value))) break;
      if (state === "gateway" && address(value) !== undefined) gateways.push(value);
      continue;
    }
    const length = maskLength(value);
    const last = addresses.at(-1);
    if (state === "gateway") state = "after";
    if (mac(value) !== undefined && ownMac === undefined) ownMac = mac(value);
    else if (
      last !== undefined &&
      last.prefixLength === undefined &&
      state === "before" &&
      length !== undefined
    ) {
      last.prefixLength = length;
      state = "masked";
    } else if (
      address(value) !== undefined &&
      isMask(lines[next + 1]) &&
      (state === "before" || state === "masked")
    ) {
      addresses.push({ fact: "address", address: value });
      state = "before";
    } else if (state === "masked" && (value === "" || address(value) !== undefined || isIpv6(value))) {
      state = "gateway";
      if (address(value) !== undefined) gateways.push(value);
    }
  }
  if (next === first) return undefined;
  const name = heading === null ? undefined : adapterName(heading[1]!);
  return {
    format: "ipconfig",
    lines: next - at,
    facts: addresses.map((one) => ({
      ...one,
      ...(name === undefined ? {} : { interface: name }),
      ...(ownMac === undefined ? {} : { mac: ownMac }),
      ...(gateways.length === 0 ? {} : { gateways }),
    })),
  };
};

/** Whether a line has a label and a netmask. */
function isMask(line: string | undefined): boolean {
  return maskLength(LABELLED.exec(line ?? "")?.[2]?.trim()) !== undefined;
}

/** "Ethernet adapter Ethernet 2" is the adapter "Ethernet 2"; "Ethernet-Adapter Ethernet" and "Carte Ethernet Ethernet0" likewise. */
function adapterName(heading: string): string {
  return (
    /^.*?\b(?:adapter|Adapter)\s+(.+)$/.exec(heading)?.[1] ?? /^Carte \S+ (.+)$/.exec(heading)?.[1] ?? heading
  );
}

/** The title of ipconfig, which has both words in every language. */
const ipconfigTitle: Reader = (lines, at) =>
  /^(?=.*\bWindows\b)(?=.*\bIP\b)[^\d:]+$/.test(lines[at] ?? "")
    ? { format: "ipconfig", lines: 1, facts: [] }
    : undefined;

/** All of Windows' own commands, those of PowerShell apart. */
export const windowsReaders: readonly Reader[] = [
  routePrint,
  arpHeading,
  windowsNeighbours,
  netshHeading,
  ipconfigTitle,
  ipconfig,
];
