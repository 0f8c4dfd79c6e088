/**
 * Links, IPv4 addresses and IPv4 routes of the network namespace in which the socket was opened, over rtnetlink(7):
 * `openRtnetlink` asks and changes, `watchNetwork` follows.
 */
import { randomBytes } from "node:crypto";
import { closeSync, readSync, writeSync } from "node:fs";
import { constants } from "node:os";
import { openNetlinkSocket, SystemError, setReceiveBuffer } from "./libc.ts";
import { decodeMessages, decodeOutcome, encodeMessage, type Message, NLM_F, NLMSG } from "./netlink.ts";
import { onReadable, readNow } from "./readable.ts";
import {
  decodeAddress,
  decodeChange,
  decodeLink,
  decodeRoute,
  encodeAddress,
  encodeAddressQuery,
  encodeFilterQuery,
  encodeLinkAlias,
  encodeLinkDeletion,
  encodeLinkQuery,
  encodeLinkUp,
  encodeRouteQuery,
  encodeVethPair,
  type InterfaceAddress,
  type Link,
  type NetworkChange,
  type Route,
  RTM,
} from "./rtnetlink-codec.ts";

export type { InterfaceAddress, Link, NetworkChange, Route } from "./rtnetlink-codec.ts";

/** Requests to rtnetlink, each answered before the call returns. Errors throw `SystemError`. */
export interface Rtnetlink {
  links(): Link[];
  link(nameOrIndex: string | number): Link | undefined;
  /** Makes a veth pair, both ends with IFF_NOARP and the given MTU, both down. */
  createVethPair(options: { name: string; peer: string; mtu: number }): void;
  /** One that is gone already is no error. */
  deleteLink(ifindex: number): void;
  setLinkUp(ifindex: number): void;
  /** Notes a text of at most 255 bytes on an interface, for everybody to see. */
  setLinkAlias(ifindex: number, alias: string): void;
  /** The same address present already is no error. */
  addAddress(options: {
    ifindex: number;
    address: string;
    prefixLength: number;
    scope: "global" | "link" | "host";
  }): void;
  /** IPv4 addresses of one interface, or of all. */
  addresses(ifindex?: number): InterfaceAddress[];
  /** What the kernel's routing says for an IPv4 destination, like `ip route get`; undefined when it is unreachable. */
  routeTo(address: string): Route | undefined;
  /** The same for many destinations, several of them asked about at once. Each has an entry. */
  routesTo(addresses: Iterable<string>): Map<string, Route | undefined>;
  /** Whether there is any filter on the clsact qdisc of an interface; false where it has no such qdisc. */
  hasFilters(ifindex: number): boolean;
  close(): void;
}

/** A change in the network; see `watchNetwork`. */
export type NetworkEvent =
  | NetworkChange
  /** Messages were lost (ENOBUFS): whatever is known must be read anew. It comes alone in its batch. */
  | { kind: "overrun" };

/** The kernel fills at most 32 KiB per read of a dump; a single answer can be larger on NICs with many VFs. */
const BUFFER_SIZE = 64 * 1024;
/** A dump that the table's changes interrupt again and again is given up after as many tries. */
const DUMP_TRIES = 100;
/** IFNAMSIZ less the zero byte. */
const MAX_NAME = 15;
/** So many routes are asked for at once: their answers have room in a socket's receive buffer of the default size (rmem_default). */
const ROUTES_AT_ONCE = 16;
/** How the kernel says that no interface has this name or ifindex. */
const NO_DEVICE = new Set(["ENODEV"]);
/** How the kernel says that an interface has no clsact qdisc, or is gone. */
const NO_QDISC = new Set(["EINVAL", "ENOENT", "ENODEV"]);
const ADDRESS_EXISTS = new Set(["EEXIST"]);
/** How the kernel says that no route leads to an address: none, or one of type unreachable, prohibit, blackhole, throw. */
const NO_ROUTE = new Set(["ENETUNREACH", "EHOSTUNREACH", "EACCES", "EINVAL", "EAGAIN"]);

/** Opens a socket for requests. */
export function openRtnetlink(): Rtnetlink {
  const fd = openNetlinkSocket({ groups: 0, nonBlocking: false });
  const buffer = Buffer.alloc(BUFFER_SIZE);
  let sequence = 0;

  function nextSequence(): number {
    sequence = (sequence + 1) >>> 0;
    return sequence;
  }

  /** Waits for what comes next. A copy, since messages are views and the next read writes to the buffer again. */
  function receive(): Message[] {
    return decodeMessages(Buffer.from(buffer.subarray(0, readSync(fd, buffer))));
  }

  /** The message, unless it says that a request failed: throws then. */
  function checked(message: Message, type: keyof typeof RTM, sentence: string): Message {
    if (message.type !== NLMSG.ERROR && message.type !== NLMSG.DONE) return message;
    const { errno, text } = decodeOutcome(message);
    if (errno === 0) return message;
    const reason = errno === constants.errno.EPERM ? "it takes root (CAP_NET_ADMIN)" : text;
    throw new SystemError(`RTM_${type}`, errno, reason ? `${sentence}: ${reason}` : sentence);
  }

  /** Sends a request; returns what comes before its acknowledgement, or before the end of the dump. */
  function request(type: keyof typeof RTM, flags: number, payload: Buffer, sentence: string) {
    nextSequence();
    writeSync(
      fd,
      encodeMessage({ type: RTM[type], flags: NLM_F.REQUEST | flags, sequence, port: 0, payload }),
    );
    const answers: Message[] = [];
    let interrupted = false;
    for (;;) {
      for (const message of receive()) {
        if (message.sequence !== sequence) {
          continue;
        }
        interrupted ||= (message.flags & NLM_F.DUMP_INTR) !== 0;
        checked(message, type, sentence);
        if (message.type === NLMSG.ERROR || message.type === NLMSG.DONE) return { answers, interrupted };
        answers.push(message);
      }
    }
  }

  function dump(type: keyof typeof RTM, payload: Buffer, sentence: string): Message[] {
    for (let tries = 0; tries < DUMP_TRIES; tries++) {
      const { answers, interrupted } = request(type, NLM_F.DUMP, payload, sentence);
      if (!interrupted) {
        return answers;
      }
    }
    throw new SystemError(
      `RTM_${type}`,
      constants.errno.EAGAIN,
      `${sentence}: it changes faster than it can be read`,
    );
  }

  function routesTo(addresses: Iterable<string>): Map<string, Route | undefined> {
    const routes = new Map<string, Route | undefined>();
    const left = [...new Set(addresses)];
    while (left.length > 0) {
      // By sequence number.
      const asked = new Map(left.splice(-ROUTES_AT_ONCE).map((address) => [nextSequence(), address]));
      // Without NLM_F_ACK: so each has one answer, a route or an error.
      const messages = [...asked].map(([number, address]) =>
        encodeMessage({
          type: RTM.GETROUTE,
          flags: NLM_F.REQUEST,
          sequence: number,
          port: 0,
          payload: encodeRouteQuery(address),
        }),
      );
      writeSync(fd, Buffer.concat(messages));
      while (asked.size > 0)
        for (const message of receive()) {
          const address = asked.get(message.sequence);
          if (address === undefined) continue;
          asked.delete(message.sequence);
          const sentence = `cannot look up the route to ${address}`;
          const answer = unless(NO_ROUTE, () => checked(message, "GETROUTE", sentence));
          routes.set(address, answer && decodeRoute(answer.payload));
        }
    }
    return routes;
  }

  return {
    links() {
      return dump("GETLINK", encodeLinkQuery("all"), "cannot list the network interfaces")
        .map((message) => decodeLink(message.payload))
        .filter((link) => link !== undefined);
    },

    link(nameOrIndex) {
      if (typeof nameOrIndex === "string" && Buffer.byteLength(nameOrIndex) > MAX_NAME) {
        return undefined;
      }
      const which = typeof nameOrIndex === "string" ? { name: nameOrIndex } : { ifindex: nameOrIndex };
      const sentence = `cannot look up the network interface ${nameOrIndex}`;
      const answer = unless(
        NO_DEVICE,
        () => request("GETLINK", NLM_F.ACK, encodeLinkQuery(which), sentence).answers[0],
      );
      return answer && decodeLink(answer.payload);
    },

    createVethPair({ name, peer, mtu }) {
      request(
        "NEWLINK",
        NLM_F.ACK | NLM_F.CREATE | NLM_F.EXCL,
        // With a MAC that was asked for: udev replaces those that the kernel has picked, some time after the device is there.
        encodeVethPair({ name, mac: randomMac(), mtu }, { name: peer, mac: randomMac(), mtu }),
        `cannot make the veth pair ${name} and ${peer}`,
      );
    },

    deleteLink(ifindex) {
      unless(NO_DEVICE, () =>
        request(
          "DELLINK",
          NLM_F.ACK,
          encodeLinkDeletion(ifindex),
          `cannot delete the network interface ${ifindex}`,
        ),
      );
    },

    setLinkUp(ifindex) {
      request("NEWLINK", NLM_F.ACK, encodeLinkUp(ifindex), `cannot set the network interface ${ifindex} up`);
    },

    setLinkAlias(ifindex, alias) {
      request(
        "NEWLINK",
        NLM_F.ACK,
        encodeLinkAlias(ifindex, alias),
        `cannot set the alias of the network interface ${ifindex}`,
      );
    },

    addAddress(options) {
      unless(ADDRESS_EXISTS, () =>
        request(
          "NEWADDR",
          NLM_F.ACK | NLM_F.CREATE | NLM_F.EXCL,
          encodeAddress(options),
          `cannot add ${options.address}/${options.prefixLength} to the network interface ${options.ifindex}`,
        ),
      );
    },

    addresses(ifindex) {
      return dump("GETADDR", encodeAddressQuery(), "cannot list the IPv4 addresses")
        .map((message) => decodeAddress(message.payload))
        .filter((address) => address !== undefined)
        .filter((address) => ifindex === undefined || address.ifindex === ifindex);
    },

    routeTo: (address) => routesTo([address]).get(address),
    routesTo,

    hasFilters(ifindex) {
      const onSide = (side: "ingress" | "egress") =>
        unless(NO_QDISC, () =>
          dump(
            "GETTFILTER",
            encodeFilterQuery(ifindex, side),
            `cannot list the filters of interface ${ifindex}`,
          ),
        ) ?? [];
      return onSide("ingress").length + onSide("egress").length > 0;
    },

    close() {
      closeSync(fd);
    },
  };
}

/** Undefined when the action fails with one of the given errors. */
function unless<T>(codes: ReadonlySet<string>, action: () => T): T | undefined {
  try {
    return action();
  } catch (error) {
    if (error instanceof SystemError && codes.has(error.code)) {
      return undefined;
    }
    throw error;
  }
}

/** A unicast MAC of the locally administered kind. */
function randomMac(): Buffer {
  const mac = randomBytes(6);
  mac[0] = (mac[0]! & 0xfc) | 0x02;
  return mac;
}

/** Bit n-1 for RTNLGRP_LINK (1), IPV4_IFADDR (5), IPV4_ROUTE (7) and IPV4_RULE (8). */
const WATCHED_GROUPS = 0x1 | 0x10 | 0x40 | 0x80;
/** Notifications take about 4 KiB of it each, so that some thousands of links can come while the process is busy. */
const WATCH_QUEUE = 32 * 1024 * 1024;
/** Notifications given to one call of `onEvents`, so that a flood of them does not keep the process from all else. */
const WATCH_BATCH = 256;

/**
 * Subscribes to changes of links, IPv4 routes, rules and addresses, in the network namespace of the calling thread. Events
 * that arrive after this returns are all delivered, in order; "routes-changed" once per batch, at its end. A link that goes
 * down or away takes its routes with it and the kernel says nothing of those: take "link" and "link-gone" for it. After an error the
 * watch is over. `close` ends it at once: no call comes after.
 */
export function watchNetwork(
  onEvents: (events: NetworkEvent[]) => void,
  onError: (error: Error) => void,
): { close(): Promise<void> } {
  const fd = openNetlinkSocket({ groups: WATCHED_GROUPS, nonBlocking: true });
  setReceiveBuffer(fd, WATCH_QUEUE);
  const buffer = Buffer.alloc(BUFFER_SIZE);
  let open = true;
  const stop = onReadable(fd, () => {
    let events: NetworkEvent[];
    try {
      events = readEvents(fd, buffer);
    } catch (error) {
      close();
      onError(error as Error);
      return;
    }
    if (events.length > 0) {
      onEvents(events);
    }
  });
  function close() {
    if (open) {
      open = false;
      stop();
      closeSync(fd);
    }
  }
  return {
    async close() {
      close();
    },
  };
}

/** Reads what is there, up to a batch; after an overrun, all that is there, since it is older than what was lost. */
function readEvents(fd: number, buffer: Buffer): NetworkEvent[] {
  const events: NetworkEvent[] = [];
  let routesChanged = false;
  let overrun = false;
  for (let count = 0; overrun || count < WATCH_BATCH; count++) {
    let length: number | undefined;
    try {
      length = readNow(fd, buffer);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ENOBUFS") {
        throw error;
      }
      overrun = true;
      continue;
    }
    if (length === undefined) {
      break;
    }
    for (const change of decodeMessages(buffer.subarray(0, length)).map(decodeChange)) {
      if (change?.kind === "routes-changed") {
        routesChanged = true;
      } else if (change !== undefined) {
        events.push(change);
      }
    }
  }
  if (overrun) {
    return [{ kind: "overrun" }];
  }
  return routesChanged ? [...events, { kind: "routes-changed" }] : events;
}
