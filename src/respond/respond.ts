/** The responder: answers on every interface that is wanted and there, and follows them as they come and go. */
import type { Logger } from "pino";
import { PcapError } from "../pcap-live/libpcap.ts";
import type { AnswerSettings, Asked } from "./answers.ts";
import { newClaims } from "./claims.ts";
import { type RespondingInterface, respondOn } from "./interface.ts";
import { followLinks, type PresentLink } from "./links.ts";
import { newMinuteLog } from "./minute-log.ts";

/** What is answered on an interface; without a MAC, the interface's own answers. */
export type InterfaceSettings = Omit<AnswerSettings, "mac"> & { mac?: string };

/** Where and what to answer. */
export interface RespondOptions {
  /** The settings for an interface; undefined: not answered on. */
  settingsFor(name: string): InterfaceSettings | undefined;
  /** Names that are waited for when they are not there; all that are wanted, where the system cannot list its interfaces. */
  names: readonly string[];
  log: Logger;
  /** It cannot go on. */
  onFailure: (error: Error) => void;
}

/** A running responder. */
export interface Responder {
  /** Names of the interfaces that are answered on now. */
  interfaces(): string[];
  /** Frames answered since the start, and frames for which the kernel found no room. */
  totals(): { answered: number; dropped: number };
  stop(): Promise<void>;
}

/** Lines about askers in a minute, and about claims and what else is wrong. */
const LINES_PER_MINUTE = 256;
/** Claims of service addresses that are remembered. */
const MAX_CLAIMS = 1024;
/** Before an interface that could not be opened is tried again, in ms. */
const RETRY = 1000;

interface Open {
  link: PresentLink;
  responding: RespondingInterface;
}

/** Starts to answer. Throws where an interface that is there cannot be captured on: for want of rights or of libpcap, as a rule. */
export function startResponder({ settingsFor, names, log, onFailure }: RespondOptions): Responder {
  const open = new Map<PresentLink["id"], Open>();
  const past = { answered: 0, dropped: 0 };
  const claims = newClaims(MAX_CLAIMS);
  // Apart, so that who asks a lot cannot hide what is wrong.
  const answers = newMinuteLog(LINES_PER_MINUTE);
  const troubles = newMinuteLog(LINES_PER_MINUTE);
  let soon: NodeJS.Immediate | undefined;
  let later: NodeJS.Timeout | undefined;

  function logAsked(name: string, { reason, address, asker, reply }: Asked): void {
    const lines = reason === "arp-conflict" ? troubles : answers;
    const line = lines.admit(`${name} ${asker.mac} ${asker.address} ${address} ${reason}`, performance.now());
    if (line === undefined) return;
    const notLogged = line.left === 0 ? {} : { notLogged: line.left };
    const fields = {
      interface: name,
      address,
      asker: asker.address,
      askerMac: asker.mac,
      row: reason,
      ...notLogged,
    };
    if (reason === "arp-conflict") log.warn(fields, reply === undefined ? "claimed" : "claimed, defended");
    else log.info(fields, "answered");
  }

  function openOn(link: PresentLink, settings: InterfaceSettings): void {
    const { name } = link;
    const mac = settings.mac ?? link.mac;
    if (mac === undefined)
      throw new PcapError(`the MAC of ${name} is not known here; give the one that is to answer: --mac`);
    const responding = respondOn(
      name,
      { ...settings, mac },
      {
        onClaim: claims.add,
        onAsked: (asked) => logAsked(name, asked),
        onLeft({ address, mac }) {
          if (troubles.admit(`${name} left ${address} ${mac}`, performance.now()) !== undefined)
            log.warn(
              { interface: name, address, mac },
              "already answered on this host, by onlink's datapath or another: left to it",
            );
        },
        onResumed(address) {
          if (troubles.admit(`${name} resumed ${address}`, performance.now()) !== undefined)
            log.info({ interface: name, address }, "nobody else answers any more");
        },
        onUnsent(error) {
          if (troubles.admit(`${name} unsent`, performance.now()) !== undefined)
            log.warn({ interface: name, reason: error.message }, "answer not sent");
        },
        onEnd(error) {
          forget(link, responding);
          log.warn({ interface: name, reason: error.message }, "interface gone");
          reconcileLater();
        },
      },
      ({ address, mac }) => claims.has(address, mac),
    );
    open.set(link.id, { link, responding });
    log.info({ interface: name, mac }, "answering");
  }

  function forget({ id }: PresentLink, responding: RespondingInterface): void {
    const { answered, dropped } = responding.counts();
    past.answered += answered;
    past.dropped += dropped;
    open.delete(id);
  }

  /** Opens what is wanted and there, closes what is not. `onRefused` is told what could not be opened though it is there. */
  function reconcile(onRefused: (name: string, error: Error) => void): void {
    const present = new Map(links.present().map((link) => [link.id, link]));
    for (const { link, responding } of open.values()) {
      const now = present.get(link.id);
      if (now?.name === link.name && now.mac === link.mac) continue;
      void responding.close();
      forget(link, responding);
      log.info({ interface: link.name }, now === undefined ? "interface gone" : "interface changed");
    }
    for (const link of present.values()) {
      const settings = open.has(link.id) ? undefined : settingsFor(link.name);
      if (settings === undefined) continue;
      try {
        openOn(link, settings);
      } catch (error) {
        // It may have gone in the meantime, or not be there where none can be listed.
        if (error instanceof PcapError && error.isAbsence) reconcileLater();
        else onRefused(link.name, error as Error);
      }
    }
  }

  function reconcileAndLog(): void {
    reconcile((name, error) => {
      if (troubles.admit(`${name} refused`, performance.now()) !== undefined)
        log.error({ interface: name, reason: error.message }, "cannot answer");
    });
  }

  /** Changes come many at once. */
  function reconcileSoon(): void {
    soon ??= setImmediate(() => {
      soon = undefined;
      reconcileAndLog();
    });
  }

  function reconcileLater(): void {
    later ??= setTimeout(() => {
      later = undefined;
      reconcileAndLog();
    }, RETRY);
  }

  const links = followLinks(names, reconcileSoon, onFailure);

  async function stop(): Promise<void> {
    clearImmediate(soon);
    clearTimeout(later);
    await links.close();
    await Promise.all(
      [...open.values()].map(({ link, responding }) => {
        const closed = responding.close();
        forget(link, responding);
        return closed;
      }),
    );
  }

  try {
    reconcile((_name, error) => {
      throw error;
    });
  } catch (error) {
    void stop();
    throw error;
  }
  const interfaces = () => [...open.values()].map(({ link }) => link.name).sort();
  for (const name of names)
    if (!interfaces().includes(name)) log.warn({ interface: name }, "waiting for the interface");
  return {
    interfaces,
    totals() {
      const all = { ...past };
      for (const { responding } of open.values()) {
        const { answered, dropped } = responding.counts();
        all.answered += answered;
        all.dropped += dropped;
      }
      return all;
    },
    stop,
  };
}
