import { expect, it } from "vitest";
import type { EventBody } from "../api/events.ts";
import { formatEvent } from "./events.ts";
import { COLOURED } from "./paint.ts";

const time = "2026-01-02T03:04:05.678Z";
const mac = "02:00:00:00:00:01";
const service = "169.254.169.254";
const ends = { protocol: "tcp", guest: "10.0.0.3", guestPort: 49152, service, servicePort: 80 };
const flow = { ...ends, time, interface: "tap0", backend: "127.0.0.1", backendPort: 8775 };

it.each<[EventBody, string]>([
  [
    { kind: "conflict", time, interface: "tap0", service, mac },
    "2026-01-02T03:04:05.678Z  tap0             conflict     02:00:00:00:00:01 claims 169.254.169.254\n",
  ],
  [
    { kind: "spoofed", time, interface: "ifindex 9", guest: "10.9.9.9", service, protocol: "udp", mac },
    "2026-01-02T03:04:05.678Z  ifindex 9        spoofed      udp 10.9.9.9 > 169.254.169.254 from 02:00:00:00:00:01\n",
  ],
  [
    { kind: "limit", time, interface: "a23456789012345", ...ends },
    "2026-01-02T03:04:05.678Z  a23456789012345  limit        tcp 10.0.0.3:49152 > 169.254.169.254:80\n",
  ],
  [
    { kind: "flow-opened", ...flow },
    "2026-01-02T03:04:05.678Z  tap0             flow-opened  tcp 10.0.0.3:49152 > 169.254.169.254:80, backend 127.0.0.1:8775\n",
  ],
  [
    {
      kind: "flow-closed",
      ...flow,
      framesOut: 6,
      bytesOut: 500,
      framesIn: 4,
      bytesIn: "9007199254740993",
    },
    "2026-01-02T03:04:05.678Z  tap0             flow-closed  tcp 10.0.0.3:49152 > 169.254.169.254:80, backend 127.0.0.1:8775, out 6 frames 500 bytes, in 4 frames 9007199254740993 bytes\n",
  ],
  [
    { kind: "lost", time, lost: 12 },
    "2026-01-02T03:04:05.678Z  -                lost         12 events: they came too fast\n",
  ],
])("%o on a line", (event, line) => {
  expect(formatEvent(event)).toBe(line);
});

it("marks all but the everyday of flows where there are colours", () => {
  expect(formatEvent({ kind: "lost", time, lost: 12 }, COLOURED)).toContain(COLOURED.bad("lost       "));
  expect(formatEvent({ kind: "flow-opened", ...flow }, COLOURED)).toBe(
    formatEvent({ kind: "flow-opened", ...flow }),
  );
});
