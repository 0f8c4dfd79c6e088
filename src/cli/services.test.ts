import { expect, it } from "vitest";
import { COLOURED, PLAIN } from "./paint.ts";
import { formatServices } from "./services.ts";

const traffic = {
  flows: "12345",
  refused: "0",
  framesOut: "20000",
  bytesOut: "2048",
  framesIn: "20000",
  bytesIn: "0",
};
const service = { name: "dns", address: "169.254.169.253", port: 53, protocols: ["udp" as const], traffic };
const refused = { address: "198.51.100.1", port: 53, state: "out of use", reason: "no route to it" } as const;

it("has a line for each backend, and for a service without one", () => {
  expect(
    formatServices(
      [
        {
          ...service,
          backends: [{ address: "127.0.0.1", port: 53, state: "in use", kind: "host-local" }, refused],
        },
        { ...service, name: "ntp", port: 123, backends: [] },
      ],
      PLAIN,
    ),
  ).toBe(`\
SERVICE  ADDRESS          PORT  PROTOCOL  FLOWS      OUT   IN  BACKEND          STATE
dns      169.254.169.253  53    udp       12345  2.0 KiB  0 B  127.0.0.1:53     in use, host-local
                                                               198.51.100.1:53  out of use: no route to it
ntp      169.254.169.253  123   udp       12345  2.0 KiB  0 B  -                no backend
`);
});

it("marks what is in trouble where there are colours", () => {
  expect(formatServices([{ ...service, backends: [refused] }], COLOURED)).toContain(
    "\u001b[31mout of use: no route to it\u001b[39m",
  );
});
