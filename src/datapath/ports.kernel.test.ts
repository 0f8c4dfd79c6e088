/** Source ports towards fabric backends. */
import { expect, test } from "vitest";
import { tcpFrame } from "../packet/build.ts";
import { parseFrame } from "../packet/frame.ts";
import { TCP_FLAG } from "../packet/tcp.ts";
import { loadDatapath } from "./datapath.ts";
import { openPrivateBpffs, SERVICE, SETTINGS, VIF } from "./testing.ts";
import type { Datapath } from "./types.ts";

const LOOPBACK = 1;

/** Opens a flow; returns the port that the backend sees. */
function portOf(datapath: Datapath, guestPort: number): number {
  const ends = { source: "10.0.1.3", destination: SERVICE, sourcePort: guestPort, destinationPort: 80 };
  const macs = { sourceMac: "02:00:0a:00:01:03", destinationMac: "02:00:0a:00:01:01" };
  const { frame } = datapath.run("vif", tcpFrame({ ...macs, ...ends, flags: TCP_FLAG.syn }), LOOPBACK);
  const parsed = parseFrame(frame);
  if (!parsed.ok || parsed.value.network.kind !== "ipv4") throw new Error("not translated");
  const { transport } = parsed.value.network;
  if (transport.kind !== "tcp") throw new Error("not TCP");
  return transport.sourcePort;
}

test("one is used again only when all others have been, since the backend may hold it in TIME_WAIT", () => {
  const bpffs = openPrivateBpffs();
  const datapath = loadDatapath({ pinDir: bpffs.path, attach: "auto", flowCapacity: 1024 });
  try {
    datapath.setSettings({ ...SETTINGS, fabricPortMin: 61000, fabricPortMax: 61003 });
    datapath.setVif(LOOPBACK, VIF);
    datapath.backends.set(
      { service: 1, slot: 0 },
      { kind: "fabric", address: "192.0.2.10", port: 8080, source: "192.0.2.1", ifindex: LOOPBACK },
    );
    const service = {
      id: 1,
      backends: 1,
      responseHopLimit: 64,
      whenNoBackend: "reject" as const,
      drain: 0,
      drainEnds: 0n,
    };
    datapath.services.set({ address: SERVICE, port: 80, protocol: "tcp" }, service);
    datapath.serviceAddresses.set(SERVICE, { services: 1 });
    const ports = [40000, 40001, 40002, 40003, 40004].map((guestPort) => {
      const port = portOf(datapath, guestPort);
      datapath.endFlows([{ vif: LOOPBACK }]);
      return port;
    });
    expect(ports).toEqual([61000, 61001, 61002, 61003, 61000]);
  } finally {
    datapath.close();
    bpffs.close();
  }
});
