/**
 * Whether the responder is the one to answer, for each subject on an interface. Pure: times are given.
 *
 * Who else on this host answers on the interface (onlink's datapath, the kernel itself, another responder) shows by its answers, which the host
 * sends out there; what would show it beforehand takes rights that the responder need not have. So a request is held back for a moment until it is
 * known that nobody else answers, and from then on answered at once. Two responders do not give way to each other for ever, since the
 * moment is drawn anew each time.
 */
import type { Subject } from "./answers.ts";

/** What is done about a request: answer it now; look again when a moment has passed; leave it to somebody else. */
export type Decision = "answer" | "hold" | "leave";

/** Somebody else's answer. */
export interface Elsewhere {
  subject: Subject;
  address: string;
  /** Where it says that the address is. */
  mac: string;
}

/** Nobody else answers a request later than that, in us. */
const LATEST_ANSWER = 1_000_000;

/** What is known of one interface. */
export interface Standing {
  /** A request came. Times in us, all of the clock of the captures. */
  onRequest(subject: Subject, requested: number): Decision;
  /** The request that was held has had its time. Never "hold". */
  onHeld(subject: Subject, requested: number): Decision;
  /** Somebody else's answer was seen. */
  onElsewhere(elsewhere: Elsewhere, answered: number): void;
  /** Who answers instead; undefined while the responder does, or nobody has asked yet. */
  leftTo(subject: Subject): Elsewhere | undefined;
}

/**
 * Nothing known yet. Where others' answers cannot be seen (`canSee` false), the responder always answers. `isGuest`: an answer that a bridge
 * carries from another guest counts for nothing.
 */
export function newStanding(canSee: boolean, isGuest: (elsewhere: Elsewhere) => boolean): Standing {
  /** Subjects that the responder answers. */
  const own = new Set<Subject>();
  /** The last answer of somebody else. */
  const others = new Map<Subject, Elsewhere & { answered: number }>();
  /** Subjects that were left to somebody else. */
  const left = new Map<Subject, Elsewhere>();

  function answeredElsewhere(subject: Subject, requested: number): Elsewhere | undefined {
    const other = others.get(subject);
    if (other === undefined) return undefined;
    const { answered, ...elsewhere } = other;
    // The clock can be set back, which must not leave an answer in the future for ever.
    const inTime = answered >= requested && answered - requested < LATEST_ANSWER;
    return inTime && !isGuest(elsewhere) ? elsewhere : undefined;
  }

  return {
    onRequest(subject, requested) {
      if (!canSee || own.has(subject)) return "answer";
      const elsewhere = answeredElsewhere(subject, requested);
      if (elsewhere === undefined) return "hold";
      left.set(subject, elsewhere);
      return "leave";
    },
    onHeld(subject, requested) {
      const elsewhere = answeredElsewhere(subject, requested);
      if (elsewhere !== undefined) {
        left.set(subject, elsewhere);
        return "leave";
      }
      own.add(subject);
      left.delete(subject);
      return "answer";
    },
    onElsewhere(elsewhere, answered) {
      own.delete(elsewhere.subject);
      others.set(elsewhere.subject, { ...elsewhere, answered });
    },
    leftTo: (subject) => left.get(subject),
  };
}
