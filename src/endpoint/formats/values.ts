/** The values that guests print in tables, in whatever form, as canonical text. All return undefined for anything else. */
import { ipv4FromUint32, ipv4ToUint32, isIpv4, ZERO_MAC } from "../../packet/address.ts";
import type { NeighbourState } from "../types.ts";

/** The words of a line. */
export function wordsOf(line: string): string[] {
  return line.split(/\s+/).filter((word) => word !== "");
}

/** An IPv4 address. */
export function address(word: string | undefined): string | undefined {
  return word !== undefined && isIpv4(word) ? word : undefined;
}

/** A prefix from address and length (10.0.0.10 and 24 are 10.0.0.0/24). The address must be one. */
export function prefix(of: string, length: number): string {
  const size = 2 ** (32 - length);
  const value = ipv4ToUint32(of);
  return `${ipv4FromUint32(value - (value % size))}/${length}`;
}

/** A prefix in the form `10.0.0.0/24`; an address alone is a prefix of length 32. */
export function prefixOf(word: string | undefined): string | undefined {
  const [of = "", length = "32", ...rest] = (word ?? "").split("/");
  if (!isIpv4(of) || !/^\d{1,2}$/.test(length) || Number(length) > 32 || rest.length > 0) return undefined;
  return prefix(of, Number(length));
}

/** The length that a netmask stands for: 255.255.255.0 is 24. Masks with gaps are none. */
export function maskLength(word: string | undefined): number | undefined {
  if (word === undefined || !isIpv4(word)) return undefined;
  const bits = ipv4ToUint32(word).toString(2).padStart(32, "0");
  return /^1*0*$/.test(bits) ? bits.lastIndexOf("1") + 1 : undefined;
}

/** A decimal number without sign. */
export function number(word: string | undefined): number | undefined {
  return word !== undefined && /^\d{1,10}$/.test(word) ? Number(word) : undefined;
}

/**
 * A MAC address, with colons or hyphens, with pairs shortened as BSD prints them (0:0:5e:0:1:0), or as twelve digits as older
 * PowerShell prints them.
 */
export function mac(word: string | undefined): string | undefined {
  if (word === undefined) return undefined;
  const lower = word.toLowerCase();
  if (/^[0-9a-f]{12}$/.test(lower)) return lower.match(/../g)!.join(":");
  if (!/^[0-9a-f]{1,2}(?:(?::[0-9a-f]{1,2}){5}|(?:-[0-9a-f]{1,2}){5})$/.test(lower)) return undefined;
  return lower
    .split(/[:-]/)
    .map((pair) => pair.padStart(2, "0"))
    .join(":");
}

/** The words for a neighbour's state that systems print in English; arp's `dynamic` says nothing of it. */
const STATES: Record<string, NeighbourState> = {
  reachable: "reachable",
  stale: "stale",
  delay: "delay",
  probe: "probe",
  incomplete: "incomplete",
  unreachable: "failed",
  failed: "failed",
  permanent: "permanent",
  static: "permanent",
  noarp: "noarp",
};

/** A neighbour's state by its English word. */
export function neighbourState(word: string | undefined): NeighbourState | undefined {
  return STATES[word?.toLowerCase() ?? ""];
}

/**
 * MAC and state of a row of Windows'. A MAC of zeros, or none, means that nobody answered: so the state is known whatever
 * language it is in.
 */
export function windowsNeighbour(
  macText: string | undefined,
  stateText: string | undefined,
): { mac?: string; state?: NeighbourState } {
  const known = mac(macText);
  const state = neighbourState(stateText);
  if (known === undefined || known === ZERO_MAC) return { state: state === "incomplete" ? state : "failed" };
  return { mac: known, ...(state === undefined ? {} : { state }) };
}

/** Whether a word is, or holds, an IPv6 address or prefix. MAC addresses are none. */
export function isIpv6(word: string): boolean {
  const [bare = ""] = word.toLowerCase().split(/[/%]/);
  return (
    /^[0-9a-f:.]*$/.test(bare) &&
    mac(bare) === undefined &&
    (/::/.test(bare) || /^([0-9a-f]+:){7}/.test(bare))
  );
}
