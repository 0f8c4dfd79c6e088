/** What tests of the datapath fill its maps with; addresses from the documentation ranges (RFC 5737). */
import { GATEWAY_MAC } from "../packet/address.ts";
import type { Settings, Vif } from "./types.ts";

export const SERVICE = "169.254.169.254";
export const HOST_MAC = "02:00:00:00:00:01";
export const METADATA_ADDRESS = "169.254.64.2";

export const SETTINGS: Settings = {
  hostDevice: 1,
  hostMac: HOST_MAC,
  gatewayMac: GATEWAY_MAC,
  fabricPortMin: 61000,
  fabricPortMax: 61003,
  maxFlows: 100,
  maxFlowsPerVif: 50,
  timeoutTcpSyn: 60,
  timeoutTcpEstablished: 7200,
  timeoutTcpClosing: 10,
  timeoutUdp: 30,
  timeoutUdpAnswered: 180,
  timeoutIcmp: 10,
  hostServiceAddress: SERVICE,
  flowEvents: false,
};

export const VIF: Vif = {
  metadataAddress: METADATA_ADDRESS,
  addresses: [],
  antiSpoof: true,
  unknownPort: "drop",
  arpReply: "unicast",
};
