/** What each part of the benchmarks measures, in the order of docs/benchmarks.md. */
export const TITLES: Record<string, string> = {
  arp: "ARP replies",
  cost: "A frame in the vif program",
  bulk: "TCP, bulk",
  connections: "New TCP connections",
  udp: "UDP, request and answer",
  flows: "The same with many flows in the table",
  listing: "Listing a million flows",
  scale: "The same with many services and vifs",
  start: "Start, and one change",
  reconcile: "One changed backend",
  metadata: "Metadata requests",
  footprint: "Memory and processor time of the agent",
  respond: "The responder in user space",
};
