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
  destroyQdisc,
  detachFilter,
  detachLink,
  getPinned,
  hasFilter,
  linkIfindex,
  pinObject,
  updateLink,
} from "./libbpf.ts";
import type { AttachKind, Attachment, ProgramName } from "./types.ts";

/**
 * The handles of our clsact filters: one for each program, since an interface that turns from vif to fabric has both for a moment. The first
 * two bytes are "ol", so that `tc filter show` tells whose they are.
 */
export const FILTER_HANDLES: Record<ProgramName, number> = {
  vif: 0x6f6c0001,
  host: 0x6f6c0002,
  fabric: 0x6f6c0003,
};

/** Attaches a program where it is not, or renews it in place. What hung there in the other way is taken off afterwards. */
export function attach(
  pinDir: string,
  how: AttachKind,
  name: ProgramName,
  program: number,
  ifindex: number,
): void {
  if (how === "tcx") {
    attachByLink(pinDir, name, program, ifindex);
    detachByFilter(pinDir, name, ifindex);
  } else {
    attachByFilter(pinDir, name, program, ifindex);
    detachByLink(pinDir, name, ifindex);
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
  const pinned = existsSync(link) ? getPinned(link) : undefined;
  if (pinned !== undefined) {
    try {
      return linkIfindex(pinned) === ifindex;
    } finally {
      closeFd(pinned);
    }
  }
  return (
    existsSync(join(pinDir, "filters", `${name}-${ifindex}`)) && hasFilter(ifindex, FILTER_HANDLES[name])
  );
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

function pinPath(pinDir: string, folder: "links" | "filters", name: string, ifindex: number): string {
  const dir = join(pinDir, folder);
  mkdirSync(dir, { recursive: true });
  return join(dir, `${name}-${ifindex}`);
}

function attachByLink(pinDir: string, name: ProgramName, program: number, ifindex: number): void {
  const path = pinPath(pinDir, "links", name, ifindex);
  const pinned = getPinned(path);
  if (pinned !== undefined) {
    try {
      if (linkIfindex(pinned) === ifindex) {
        updateLink(pinned, program);
        return;
      }
      // The interface went and another came with its number: this link leads nowhere any more.
      rmSync(path);
    } finally {
      closeFd(pinned);
    }
  }
  const link = createLink(program, ifindex);
  try {
    pinObject(link, path);
  } finally {
    closeFd(link);
  }
}

function detachByLink(pinDir: string, name: ProgramName, ifindex: number): void {
  const path = join(pinDir, "links", `${name}-${ifindex}`);
  const pinned = existsSync(path) ? getPinned(path) : undefined;
  if (pinned === undefined) return;
  detachLink(pinned);
  closeFd(pinned);
  rmSync(path);
}

function attachByFilter(pinDir: string, name: ProgramName, program: number, ifindex: number): void {
  const qdisc = pinPath(pinDir, "filters", "qdisc", ifindex);
  const filter = pinPath(pinDir, "filters", name, ifindex);
  if (createQdisc(ifindex) && !existsSync(qdisc)) pinObject(program, qdisc);
  attachFilter(program, ifindex, FILTER_HANDLES[name]);
  rmSync(filter, { force: true });
  pinObject(program, filter);
}

function detachByFilter(pinDir: string, name: ProgramName, ifindex: number): void {
  const qdisc = join(pinDir, "filters", `qdisc-${ifindex}`);
  const filter = join(pinDir, "filters", `${name}-${ifindex}`);
  if (!existsSync(filter)) return;
  detachFilter(ifindex, FILTER_HANDLES[name]);
  rmSync(filter);
  const isLast = !listAttachments(pinDir).some((one) => one.how === "clsact" && one.ifindex === ifindex);
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
