/** Looks the names of backends up: in the hosts file, then with the host's DNS servers. */
import { Resolver } from "node:dns/promises";
import { readFile, stat } from "node:fs/promises";
import { isLoopback } from "../config/ranges.ts";
import { isInPrefix, isIpv4 } from "../packet/address.ts";
import { messageOf } from "./errors.ts";

/** What became of a look-up. */
export type Answer =
  | { kind: "addresses"; addresses: string[] /** Seconds for which they hold. */; ttl: number }
  /** The answer is that the name has no address. */
  | { kind: "none"; reason: string }
  /** There was no answer, or none to believe. */
  | { kind: "failed"; reason: string };

/** Looks a name, in lower case, up. Never throws; ends early when the signal says so. */
export type Lookup = (name: string, signal: AbortSignal) => Promise<Answer>;

/** The hosts file is looked at again after so many seconds. */
const HOSTS_FILE_TTL = 60;
/** One server is asked so long, in ms, and all of them so often. */
const TIMEOUT = 2000;
const TRIES = 2;

/** Answers of the DNS itself, by the codes of c-ares; all others mean that there was none. */
const NO_ADDRESS: Readonly<Record<string, string>> = {
  ENOTFOUND: "there is no such name (NXDOMAIN)",
  ENODATA: "the name has no IPv4 address",
};
const FAILURES: Readonly<Record<string, string>> = {
  ETIMEOUT: "the DNS servers do not answer",
  ECONNREFUSED: "the DNS servers cannot be reached",
  ESERVFAIL: "the DNS servers failed (SERVFAIL)",
  EREFUSED: "the DNS servers refused the question (REFUSED)",
};

/** The IPv4 addresses of each name, in lower case, in the text of a hosts file (hosts(5)). */
export function parseHosts(text: string): Map<string, string[]> {
  const addresses = new Map<string, string[]>();
  for (const line of text.split("\n")) {
    const [address = "", ...names] = line.replace(/#.*/, "").trim().split(/\s+/);
    if (!isIpv4(address)) continue;
    for (const name of names.map((each) => each.toLowerCase())) {
      addresses.set(name, [...new Set([...(addresses.get(name) ?? []), address])]);
    }
  }
  return addresses;
}

/** What a failed query of node:dns means, by its code. */
export function answerOfError(code: string): Answer {
  const none = NO_ADDRESS[code];
  if (none !== undefined) return { kind: "none", reason: none };
  return { kind: "failed", reason: FAILURES[code] ?? `the look-up failed (${code})` };
}

/**
 * What an answer of the DNS means. It may not lead to the host's own loopback addresses: whoever can answer would open the host's
 * inner services to guests.
 */
export function answerOfRecords(records: ReadonlyArray<{ address: string; ttl: number }>): Answer {
  const usable = records.filter(({ address }) => !isLoopback(address));
  if (usable.length === 0) {
    return { kind: "none", reason: "DNS says 127.0.0.0/8, which is believed of the hosts file alone" };
  }
  return {
    kind: "addresses",
    addresses: usable.map(({ address }) => address),
    ttl: Math.min(...usable.map(({ ttl }) => ttl)),
  };
}

/**
 * Looks up as most programs of the host do ("hosts: files dns" of nsswitch.conf(5)), without search domains. A DNS server at one of
 * `metadataAddresses`, a prefix, would be a guest, and is not asked.
 */
export function createLookup(metadataAddresses: string, hostsFile = "/etc/hosts"): Lookup {
  const hosts = hostsReader(hostsFile);
  return async (name, signal) => {
    const addresses = (await hosts()).get(name);
    if (addresses !== undefined) return { kind: "addresses", addresses, ttl: HOSTS_FILE_TTL };
    if (signal.aborted) return answerOfError("ECANCELLED");
    try {
      return await query(name, metadataAddresses, signal);
    } catch (error) {
      return answerOfError((error as NodeJS.ErrnoException).code ?? messageOf(error));
    }
  };
}

/** Asks the host's DNS servers. Throws what node:dns says: also of a resolver that cannot be made, for want of files or memory. */
async function query(name: string, metadataAddresses: string, signal: AbortSignal): Promise<Answer> {
  // A new one each time reads resolv.conf anew.
  const resolver = new Resolver({ timeout: TIMEOUT, tries: TRIES });
  const servers = resolver.getServers();
  const askable = servers.filter((server) => !isIpv4(server) || !isInPrefix(server, metadataAddresses));
  if (askable.length === 0) return { kind: "failed", reason: "no DNS server but guests" };
  if (askable.length < servers.length) resolver.setServers(askable);
  const cancel = () => resolver.cancel();
  signal.addEventListener("abort", cancel);
  try {
    return answerOfRecords(await resolver.resolve4(name, { ttl: true }));
  } finally {
    signal.removeEventListener("abort", cancel);
  }
}

/** Reads a hosts file when it has changed. One that cannot be read has no names, as for the C library. */
function hostsReader(file: string): () => Promise<ReadonlyMap<string, string[]>> {
  let version = "";
  let hosts: ReadonlyMap<string, string[]> = new Map();
  return async () => {
    try {
      const { mtimeMs, size, ino } = await stat(file);
      const found = `${ino} ${mtimeMs} ${size}`;
      if (found !== version) {
        hosts = parseHosts(await readFile(file, "utf8"));
        version = found;
      }
    } catch {
      version = "";
      hosts = new Map();
    }
    return hosts;
  };
}
