/** What tests of the datapath need: somewhere to pin, and what to fill its maps with; addresses from the documentation ranges (RFC 5737). */
import { closeSync, mkdtempSync, openSync, rmdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { mountBpffs, unmount } from "../linux/libc.ts";
import { GATEWAY_MAC } from "../packet/address.ts";
import type { Datapath, Flow, FlowKey, Settings, Vif } from "./types.ts";

/**
 * A bpffs that no other process comes across and that ends with this one, however that ends: it is mounted, opened, and at once taken off its
 * path again. `path` leads to it through the open file; child processes can use it too.
 */
export function openPrivateBpffs(): { path: string; close(): void } {
  const mountPoint = mkdtempSync(join(tmpdir(), "onlink-bpffs-"));
  try {
    mountBpffs(mountPoint, 0o700);
    const fd = openSync(mountPoint, "r");
    unmount(mountPoint, { detach: true });
    return { path: `/proc/${process.pid}/fd/${fd}`, close: () => closeSync(fd) };
  } finally {
    rmdirSync(mountPoint);
  }
}

/** What is thrown; undefined when nothing is. */
export function errorOf(action: () => void): unknown {
  try {
    action();
  } catch (error) {
    return error;
  }
  return undefined;
}

/** All flows: for tests, which have few. */
export function allFlows(datapath: Pick<Datapath, "flowPage">): Array<[FlowKey, Flow]> {
  const flows: Array<[FlowKey, Flow]> = [];
  let cursor: string | undefined;
  do {
    const page = datapath.flowPage({ cursor, limit: 1000 });
    flows.push(...page.flows);
    cursor = page.next;
  } while (cursor !== undefined);
  return flows;
}

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
