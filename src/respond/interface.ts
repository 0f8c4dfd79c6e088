/** One interface that is answered on: two captures of it, one for what the guests ask, one for what others on this host answer. */
import { followCapture } from "../pcap-live/follow.ts";
import type { LivePacket } from "../pcap-live/layout.ts";
import { type CaptureOptions, openCapture } from "../pcap-live/libpcap.ts";
import {
  type AnswerSettings,
  type Asked,
  answerState,
  ask,
  askFilter,
  elsewhereFilter,
  readElsewhere,
  type Subject,
} from "./answers.ts";
import { type Decision, type Elsewhere, newStanding } from "./standing.ts";

/** What is told of an interface. */
export interface ResponderEvents {
  /** A guest claims a service address, answered or not. */
  onClaim(address: string, mac: string): void;
  /** A frame was answered, or would have been but for DEFEND_INTERVAL. */
  onAsked(asked: Asked): void;
  /** Somebody else on this host answers: the address is left to it from now on. */
  onLeft(to: Elsewhere): void;
  /** Nobody else answers any more: the responder does, again. */
  onResumed(address: string): void;
  /** An answer could not be sent. */
  onUnsent(error: Error): void;
  /** It is over: the interface is gone, as a rule. */
  onEnd(error: Error): void;
}

/** How an interface was answered on. */
export interface ResponderCounts {
  answered: number;
  /** Frames for which the kernel found no room. */
  dropped: number;
}

/** An interface that is answered on. */
export interface RespondingInterface {
  counts(): ResponderCounts;
  close(): Promise<void>;
}

/** An ARP packet in its frame, padded, with a VLAN tag. */
const ARP_SNAP_LENGTH = 96;
/** The longest IPv4 packet in its frame: an echo reply repeats all of the request. */
const ECHO_SNAP_LENGTH = 65_535 + 18;
const ARP_BUFFER_SIZE = 1 << 20;
const ECHO_BUFFER_SIZE = 2 << 20;
const ELSEWHERE_BUFFER_SIZE = 64 << 10;

/** How long a request is held back while nobody knows who answers, in ms: time for others on this host, unnoticed by the guest. */
const HOLD = { min: 20, max: 60 };

/**
 * Starts to answer. Throws a `PcapError`. `canSeeOthers`: a capture of what this host sends has all but what was sent through that capture
 * itself, as on Linux.
 */
export function respondOn(
  interfaceName: string,
  settings: AnswerSettings,
  events: ResponderEvents,
  isGuest: (elsewhere: Elsewhere) => boolean,
  canSeeOthers = process.platform === "linux",
): RespondingInterface {
  const state = answerState(settings);
  const standing = newStanding(canSeeOthers, isGuest);
  const held = new Map<Subject, NodeJS.Timeout>();
  let answered = 0;
  let open = true;

  const asking: CaptureOptions = {
    interfaceName,
    filter: askFilter(settings),
    direction: "in",
    snapLength: settings.echo ? ECHO_SNAP_LENGTH : ARP_SNAP_LENGTH,
    bufferSize: settings.echo ? ECHO_BUFFER_SIZE : ARP_BUFFER_SIZE,
  };
  const requests = openCapture(asking);
  const followed = [followCapture(requests, onRequests, end)];
  let sender = requests;
  if (canSeeOthers) {
    try {
      const others = openCapture({
        ...asking,
        filter: elsewhereFilter(settings),
        direction: "out",
        snapLength: ARP_SNAP_LENGTH,
        bufferSize: ELSEWHERE_BUFFER_SIZE,
      });
      followed.push(followCapture(others, onOthers, end));
      // Sent through it, so that it has the others' answers alone.
      sender = others;
    } catch (error) {
      void close();
      throw error;
    }
  }
  return {
    counts: () => ({ answered, dropped: requests.statistics().dropped }),
    close,
  };

  function answer(asked: Asked): void {
    if (asked.reply !== undefined) {
      try {
        sender.send(asked.reply);
        answered++;
      } catch (error) {
        events.onUnsent(error as Error);
      }
    }
    events.onAsked(asked);
  }

  function act(decision: Decision, asked: Asked, requested: number, wasLeft: boolean): void {
    switch (decision) {
      case "answer":
        if (wasLeft) events.onResumed(asked.address);
        answer(asked);
        break;
      case "hold":
        hold(asked, requested);
        break;
      case "leave": {
        const to = standing.leftTo(asked.subject);
        if (!wasLeft && to !== undefined) events.onLeft(to);
      }
    }
  }

  /** Looks again when whoever else is on this host has had time to answer. One request at a time is enough: guests ask again. */
  function hold(asked: Asked, requested: number): void {
    const { subject } = asked;
    if (held.has(subject)) return;
    const timer = setTimeout(
      () => {
        held.delete(subject);
        // The others' answers: a timer can come before what was there to be read.
        for (const one of followed) one.drain();
        if (!open) return;
        const wasLeft = standing.leftTo(subject) !== undefined;
        act(standing.onHeld(subject, requested), asked, requested, wasLeft);
      },
      HOLD.min + Math.random() * (HOLD.max - HOLD.min),
    );
    held.set(subject, timer);
  }

  function onRequests(packets: Iterable<LivePacket>): void {
    const now = process.hrtime.bigint();
    for (const packet of packets) {
      const asked = ask(state, settings, packet.bytes, now);
      if (asked === undefined) continue;
      if (asked.reason === "arp-conflict") events.onClaim(asked.address, asked.asker.mac);
      const wasLeft = standing.leftTo(asked.subject) !== undefined;
      const requested = microsecondsOf(packet);
      act(standing.onRequest(asked.subject, requested), asked, requested, wasLeft);
    }
  }

  function onOthers(packets: Iterable<LivePacket>): void {
    for (const packet of packets) {
      const elsewhere = readElsewhere(packet.bytes);
      if (elsewhere !== undefined) standing.onElsewhere(elsewhere, microsecondsOf(packet));
    }
  }

  function end(error: Error): void {
    if (!open) return;
    void close();
    events.onEnd(error);
  }

  async function close(): Promise<void> {
    open = false;
    for (const timer of held.values()) clearTimeout(timer);
    held.clear();
    await Promise.all(followed.map((one) => one.close()));
  }
}

function microsecondsOf({ seconds, nanoseconds }: LivePacket): number {
  return seconds * 1e6 + nanoseconds / 1000;
}
