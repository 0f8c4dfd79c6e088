/**
 * Programs on interfaces, as tcx links or clsact filters, and the pins by which a later agent finds them:
 *
 *     links/PROGRAM-IFINDEX     a tcx link
 *     filters/PROGRAM-IFINDEX   the program of a clsact filter: a filter cannot be pinned, so this marks it
 *     filters/qdisc-IFINDEX     marks that the clsact qdisc is ours
 */
import { existsSync, mkdirSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { openRtnetlink } from "../linux/rtnetlink.ts";
import {
  attachFilter,
  closeFd,
  createLink,
  createQdisc,
  type Direction,
  destroyQdisc,
  detachFilter,
  detachLink,
  type FilterPlace,
  getPinned,
  hasFilter,
  linkIfindex,
  pinObject,
  renewFilter,
  updateLink,
} from "./libbpf.ts";
import { replacePin } from "./pins.ts";
import type { AttachKind, Attachment, ProgramName } from "./types.ts";

/** Guests' and the fabric's frames are met as they come in; the host's as they leave by onlink0, before they cross to its other end. */
const DIRECTIONS: Record<ProgramName, Direction> = { vif: "ingress", host: "egress", fabric: "ingress" };

/**
 * The handles of our clsact filters: one for each program, since an interface that turns from vif to fabric has both for a moment. The first
 * two bytes are "ol", so that `tc filter show` tells whose they are.
 */
const FILTER_HANDLES: Record<ProgramName, number> = {
  vif: 0x6f6c0001,
  host: 0x6f6c0002,
  fabric: 0x6f6c0003,
};

/** Where the clsact filter of a program sits. */
export function filterPlace(name: ProgramName, ifindex: number): FilterPlace {
  return { ifindex, direction: DIRECTIONS[name], handle: FILTER_HANDLES[name] };
}

/** Programs on interfaces, as one process sees them to. */
export interface Attachments {
  /** See `Datapath.attach`. */
  attach(name: ProgramName, ifindex: number): void;
  /** See `Datapath.detach`. */
  detach(name: ProgramName, ifindex: number): void;
  /** Ends what goes on in the background; what it has not come to stays as it is. */
  close(): void;
}

/** What `openAttachments` works on. */
export interface AttachmentsOptions {
  pinDir: string;
  how: AttachKind;
  /** The descriptor of a loaded program. */
  program: (name: ProgramName) => number;
  /** Does a step some time later; the returned function takes that back. */
  later?: (step: () => void) => () => void;
}

/** So many tcx links are made at once; then it goes on as told at `openAttachments`. */
export const LINKS_AT_ONCE = 4;
/** Pause between two tcx links made in the background, in ms: each holds the kernel's RTNL lock for about as long. */
const LINK_PAUSE = 10;

/**
 * Puts programs on interfaces. A new tcx link takes 10 ms and more, in which the kernel waits for all CPUs (RCU) with the RTNL lock held; a clsact
 * filter takes less than 0.1 ms. So where many interfaces come at once, as at a start, all but the first few get a filter, which works
 * just as well, and the links take its place one by one in the background.
 */
export function openAttachments({ pinDir, how, program, later = soon }: AttachmentsOptions): Attachments {
  for (const folder of ["links", "filters"]) mkdirSync(join(pinDir, folder), { recursive: true });
  const waiting = new Map<string, { name: ProgramName; ifindex: number }>();
  let madeAtOnce = 0;
  // An agent that left many filters had no time for their links: nor has a start.
  if (parsePins(listDir(join(pinDir, "filters")), "clsact").length > LINKS_AT_ONCE) countLinks(LINKS_AT_ONCE);
  let cancel: (() => void) | undefined;

  /** One link less to make at once, until the process has come to other things. */
  function mayLinkNow(): boolean {
    if (waiting.size > 0 || madeAtOnce >= LINKS_AT_ONCE) return false;
    countLinks(madeAtOnce + 1);
    return true;
  }

  function countLinks(made: number): void {
    if (madeAtOnce === 0) setImmediate(() => (madeAtOnce = 0)).unref();
    madeAtOnce = made;
  }

  function linkNext(): void {
    cancel = undefined;
    const [next] = waiting;
    if (next === undefined) return;
    const [key, { name, ifindex }] = next;
    waiting.delete(key);
    try {
      if (!renewLink(pinDir, name, program(name), ifindex)) makeLink(pinDir, name, program(name), ifindex);
      detachByFilter(pinDir, name, ifindex);
    } catch {
      // The filter stays, and does its work; an interface that is gone is detached by whoever is told so.
    }
    if (waiting.size > 0) cancel = later(linkNext);
  }

  return {
    attach(name, ifindex) {
      if (how === "clsact") {
        attachByFilter(pinDir, name, program(name), ifindex);
        detachByLink(pinDir, name, ifindex);
      } else if (renewLink(pinDir, name, program(name), ifindex)) {
        detachByFilter(pinDir, name, ifindex);
      } else if (mayLinkNow()) {
        makeLink(pinDir, name, program(name), ifindex);
        detachByFilter(pinDir, name, ifindex);
      } else {
        attachByFilter(pinDir, name, program(name), ifindex);
        waiting.set(`${name}-${ifindex}`, { name, ifindex });
        cancel ??= later(linkNext);
      }
    },
    detach(name, ifindex) {
      waiting.delete(`${name}-${ifindex}`);
      detach(pinDir, name, ifindex);
    },
    close() {
      waiting.clear();
      cancel?.();
    },
  };
}

function soon(step: () => void): () => void {
  const timer = setTimeout(step, LINK_PAUSE).unref();
  return () => clearTimeout(timer);
}

/**
 * Puts the programs in the places of those that are attached, without a gap. What is gone, or another's by now, is left alone. Those on vifs come last:
 * where they open flows in new maps, the answers must not meet a program that looks in the former ones.
 */
export function renewAll(pinDir: string, program: (name: ProgramName) => number): void {
  const isVif = (attachment: Attachment) => Number(attachment.program === "vif");
  for (const { program: name, ifindex, how } of listAttachments(pinDir).sort((a, b) => isVif(a) - isVif(b))) {
    try {
      if (how === "tcx") renewLink(pinDir, name, program(name), ifindex);
      else if (hasFilter(filterPlace(name, ifindex))) attachByFilter(pinDir, name, program(name), ifindex);
    } catch (error) {
      // An interface that went in this very moment is no reason not to go on with the others.
      if (isAttached(pinDir, name, ifindex)) throw error;
    }
  }
}

/** Detaches in either way. Interfaces that are gone took their hooks along; then only the pins are cleared. */
export function detach(pinDir: string, name: ProgramName, ifindex: number): void {
  detachByLink(pinDir, name, ifindex);
  detachByFilter(pinDir, name, ifindex);
}

/** What the pins say is attached. */
export function listAttachments(pinDir: string): Attachment[] {
  return [
    ...parsePins(listDir(join(pinDir, "links")), "tcx"),
    ...parsePins(listDir(join(pinDir, "filters")), "clsact"),
  ];
}

/** Whether the kernel has the program on the interface now: somebody else may have taken it off. */
export function isAttached(pinDir: string, name: ProgramName, ifindex: number): boolean {
  const link = join(pinDir, "links", `${name}-${ifindex}`);
  const pinned = getPinned(link);
  if (pinned !== undefined) {
    try {
      return linkIfindex(pinned) === ifindex;
    } finally {
      closeFd(pinned);
    }
  }
  return existsSync(join(pinDir, "filters", `${name}-${ifindex}`)) && hasFilter(filterPlace(name, ifindex));
}

/** Pin names to attachments; other names (qdisc marks) are none. */
export function parsePins(names: string[], how: AttachKind): Attachment[] {
  return names.flatMap((name) => {
    const match = /^(vif|host|fabric)-(\d+)$/.exec(name);
    return match ? [{ program: match[1] as ProgramName, ifindex: Number(match[2]), how }] : [];
  });
}

function listDir(path: string): string[] {
  return existsSync(path) ? readdirSync(path) : [];
}

/** Puts the program under the link that is there; false where there is none. */
function renewLink(pinDir: string, name: ProgramName, program: number, ifindex: number): boolean {
  const path = join(pinDir, "links", `${name}-${ifindex}`);
  const pinned = getPinned(path);
  if (pinned === undefined) return false;
  try {
    if (linkIfindex(pinned) === ifindex) {
      updateLink(pinned, program);
      return true;
    }
    // The interface went and another came with its number: this link leads nowhere any more.
    rmSync(path);
    return false;
  } finally {
    closeFd(pinned);
  }
}

function makeLink(pinDir: string, name: ProgramName, program: number, ifindex: number): void {
  const link = createLink(program, ifindex, DIRECTIONS[name]);
  try {
    pinObject(link, join(pinDir, "links", `${name}-${ifindex}`));
  } finally {
    closeFd(link);
  }
}

function detachByLink(pinDir: string, name: ProgramName, ifindex: number): void {
  const path = join(pinDir, "links", `${name}-${ifindex}`);
  const pinned = getPinned(path);
  if (pinned === undefined) return;
  detachLink(pinned);
  closeFd(pinned);
  rmSync(path);
}

function attachByFilter(pinDir: string, name: ProgramName, program: number, ifindex: number): void {
  const qdisc = join(pinDir, "filters", `qdisc-${ifindex}`);
  const filter = join(pinDir, "filters", `${name}-${ifindex}`);
  // The marks first: what a process that is killed has made, it has marked.
  const wasMarked = { qdisc: existsSync(qdisc), filter: existsSync(filter) };
  replacePin(program, qdisc);
  replacePin(program, filter);
  // As a rule both are still there.
  if (wasMarked.qdisc && wasMarked.filter && renewFilter(program, filterPlace(name, ifindex))) return;
  try {
    const isOurs = createQdisc(ifindex) || wasMarked.qdisc;
    if (!isOurs) rmSync(qdisc);
    attachFilter(program, filterPlace(name, ifindex));
  } catch (error) {
    if (!wasMarked.filter) detachByFilter(pinDir, name, ifindex);
    throw error;
  }
}

function detachByFilter(pinDir: string, name: ProgramName, ifindex: number): void {
  const qdisc = join(pinDir, "filters", `qdisc-${ifindex}`);
  const filter = join(pinDir, "filters", `${name}-${ifindex}`);
  if (!existsSync(filter)) return;
  detachFilter(filterPlace(name, ifindex));
  rmSync(filter);
  const isLast = Object.keys(FILTER_HANDLES).every(
    (other) => !existsSync(join(pinDir, "filters", `${other}-${ifindex}`)),
  );
  if (!isLast || !existsSync(qdisc)) return;
  if (!hasFilters(ifindex)) destroyQdisc(ifindex);
  rmSync(qdisc);
}

/** Whether somebody else has put filters on the clsact qdisc since we made it; then it is theirs to remove. */
function hasFilters(ifindex: number): boolean {
  const rtnetlink = openRtnetlink();
  try {
    return rtnetlink.hasFilters(ifindex);
  } finally {
    rtnetlink.close();
  }
}
