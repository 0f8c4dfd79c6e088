/** Every reason that a frame is counted under, with its row of the datapath table (DESIGN section 3) and a sentence for people. */

/** Served: the datapath did what the guest or backend wanted. Refused: dropped, or answered with no. Left: untouched. */
export type Outcome = "served" | "refused" | "left";

/** What is said about a reason. */
export interface ReasonText {
  /** Row of the datapath table, the main one where a reason serves several. */
  row: string;
  /** What the reason usually means for the frame; `whenNoBackend: pass` leaves a refused one alone. */
  outcome: Outcome;
  /** Without a capital and a full stop, so that it can end a line. */
  sentence: string;
}

/** By reason; the names are those of `enum reason` in the kernel programs. */
export const REASONS = {
  "arp-reply": { row: "A1", outcome: "served", sentence: "a request for a service address is answered" },
  "arp-probe-reply": {
    row: "A2",
    outcome: "served",
    sentence: "a probe for a service address is answered, so that the guest picks another",
  },
  "arp-conflict": {
    row: "A3",
    outcome: "refused",
    sentence: "the guest claims a service address for itself",
  },
  "arp-gateway": { row: "A4", outcome: "served", sentence: "a request for the gateway address is answered" },
  "arp-other": { row: "A5", outcome: "left", sentence: "ARP that is not about a service address" },
  forwarded: { row: "I2", outcome: "served", sentence: "a frame of a flow goes from guest to backend" },
  returned: { row: "I2", outcome: "served", sentence: "a frame of a flow goes from backend to guest" },
  "echo-reply": { row: "I3", outcome: "served", sentence: "a ping of a service address is answered" },
  "unknown-port": {
    row: "I4",
    outcome: "refused",
    sentence: "the address has no service on that port or protocol",
  },
  "no-backend": { row: "I4", outcome: "refused", sentence: "the service has no backend" },
  fragment: { row: "I5", outcome: "refused", sentence: "a later fragment without its first one" },
  "icmp-error": { row: "I6", outcome: "served", sentence: "an ICMP error about a flow is passed on" },
  spoofed: { row: "I7", outcome: "refused", sentence: "the source address is not the guest's" },
  limit: { row: "I8", outcome: "refused", sentence: "a new flow would be over a limit" },
  malformed: { row: "I9", outcome: "refused", sentence: "a header lies about a length or an address" },
  vlan: { row: "V", outcome: "left", sentence: "VLAN-tagged frames are not looked into" },
  "no-flow": { row: "I2", outcome: "refused", sentence: "the frame belongs to no flow and cannot open one" },
  "no-port": {
    row: "I2",
    outcome: "refused",
    sentence: "there is no free source port towards the backend",
  },
} as const satisfies Record<string, ReasonText>;

/** Why a frame got its verdict. */
export type Reason = keyof typeof REASONS;
