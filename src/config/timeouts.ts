/** Seconds without a frame after which a flow ends (DESIGN section 4). */
export const TIMEOUTS = {
  timeoutTcpSyn: 60,
  timeoutTcpEstablished: 7200,
  timeoutTcpClosing: 10,
  timeoutUdp: 30,
  timeoutUdpAnswered: 180,
  timeoutIcmp: 10,
} as const;
