import { expect, it } from "vitest";
import { fakeCounters } from "../api/fakes.ts";
import { inJson } from "../api/json.ts";
import { formatInterfaces } from "./interfaces.ts";
import { PLAIN } from "./paint.ts";

it("has a line for each interface, with what went over it in both directions", () => {
  const counters = inJson(
    fakeCounters({
      forwarded: { frames: 12n, bytes: 2048n },
      returned: { frames: 10n, bytes: 5n * 1024n ** 2n },
      spoofed: { frames: 3n, bytes: 180n },
      limit: { frames: 4n, bytes: 240n },
    }),
  );
  expect(
    formatInterfaces(
      [
        {
          name: "tap0",
          state: "attached",
          ifindex: 5,
          metadataAddress: "169.254.64.2",
          flows: 123_456,
          counters,
        },
        { name: "tap1", state: "failed", ifindex: 6, reason: "no memory" },
        { name: "veth-web", state: "waiting" },
      ],
      PLAIN,
    ),
  ).toBe(`\
INTERFACE  STATE              METADATA ADDRESS  FLOWS      OUT       IN  DROPPED
tap0       attached           169.254.64.2      123 k  2.0 KiB  5.0 MiB        7
tap1       failed: no memory  -                     -        -        -        -
veth-web   waiting            -                     -        -        -        -
`);
  expect(formatInterfaces([], PLAIN)).toMatch(/^no interface /);
});
