/** macOS' and the BSDs' `netstat -rn` and `arp -a` (whose form Linux' net-tools share). */
import { type Fact, type Reader, rowReader } from "./reader.ts";
import { address, mac, prefix, prefixOf, wordsOf } from "./values.ts";

/**
 * `Destination Gateway Flags [figures] Netif [Expire]`. The gateway is a next hop only where the flags have `G`; else it is a
 * link (`link#4`), an own address, or, for the entries that stand for ARP's, a MAC.
 */
function routes(line: string): Fact[] | undefined {
  const [destinationText, gatewayText, flags, ...rest] = wordsOf(line);
  const destination = abbreviatedPrefix(destinationText);
  if (destination === undefined || !/^U[A-Za-z0-9]*$/.test(flags ?? "")) return undefined;
  const device = rest.find((word) => /^[a-z][a-z0-9_.-]*\d[a-z0-9_.]*$/i.test(word));
  const gateway = address(gatewayText);
  const knownMac = mac(gatewayText);
  const isLink = /^link#\d+$/.test(gatewayText ?? "");
  if (device === undefined || (gateway === undefined && knownMac === undefined && !isLink)) return undefined;
  const has = (flag: string) => flags!.includes(flag);
  const isHost = has("H");

  // ARP's entries are host routes: with the MAC, or still with the link where nobody has answered (R: given up).
  const isArpEntry = isHost && !device.startsWith("lo") && (knownMac !== undefined || (isLink && has("W")));
  if (isArpEntry) {
    const [own = ""] = destination.split("/");
    return [
      {
        fact: "neighbour",
        address: own,
        interface: device,
        ...(knownMac === undefined ? { state: has("R") ? "failed" : "incomplete" } : { mac: knownMac }),
      },
    ];
  }
  return [
    {
      fact: "route",
      destination,
      ...(has("G") && gateway !== undefined ? { gateway } : {}),
      interface: device,
      // macOS' routes with an interface scope (I) serve sockets bound to that interface: others come first.
      ...(has("I") ? { metric: 1 } : {}),
      ...(has("R") || has("B") ? { refuses: has("B") ? "blackhole" : "unreachable" } : {}),
      ...(isHost && device.startsWith("lo") ? { local: true } : {}),
    },
  ];
}

/** `default`, `10.0.0/24`, `169.254`, `127`, `10.0.0.1`: octets left out are zero, and without a length each octet counts 8. */
function abbreviatedPrefix(word: string | undefined): string | undefined {
  if (word === "default") return "0.0.0.0/0";
  const found = /^(\d{1,3}(?:\.\d{1,3}){0,3})(?:\/(\d{1,2}))?$/.exec(word ?? "");
  if (found === null) return undefined;
  const octets = found[1]!.split(".");
  const full = address([...octets, "0", "0", "0"].slice(0, 4).join("."));
  if (full === undefined) return undefined;
  return found[2] === undefined ? prefix(full, octets.length * 8) : prefixOf(`${full}/${found[2]}`);
}

/** `? (10.0.0.1) at 0:0:5e:0:1:0 on en0 ifscope [ethernet]`. */
function arp(line: string): Fact | undefined {
  const found = /^\s*\S+ \((\S+)\) at (\S+)(?: \[\w+\])?(?: PERM)? on (\S+)( .*)?$/.exec(line);
  const own = address(found?.[1]);
  if (own === undefined) return undefined;
  const [, , macText, device, rest = ""] = found!;
  const known = mac(macText);
  if (known === undefined && !/^[(<]incomplete[)>]$/.test(macText!)) return undefined;
  return {
    fact: "neighbour",
    address: own,
    interface: device!,
    ...(known === undefined
      ? { state: "incomplete" }
      : { mac: known, ...(/\bpermanent\b/.test(rest) || / PERM /.test(line) ? { state: "permanent" } : {}) }),
  };
}

/** The line above both tables of netstat, apart from them. */
const netstatTitle: Reader = (lines, at) =>
  /^\s*Routing tables\s*$/.test(lines[at] ?? "") ? { format: "netstat-rn", lines: 1, facts: [] } : undefined;

/** The BSDs' forms. */
export const bsdReaders: readonly Reader[] = [
  rowReader("netstat-rn", routes),
  rowReader("bsd-arp-a", arp),
  netstatTitle,
];
