import { expect, it } from "vitest";
import { COLOURED, PLAIN } from "./paint.ts";
import { formatServices } from "./services.ts";

const service = { name: "dns", address: "169.254.169.253", port: 53, protocols: ["udp" as const] };
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
SERVICE  ADDRESS          PORT  PROTOCOL  BACKEND          STATE
dns      169.254.169.253  53    udp       127.0.0.1:53     in use, host-local
                                          198.51.100.1:53  out of use: no route to it
ntp      169.254.169.253  123   udp       -                no backend
`);
});

it("marks what is in trouble where there are colours", () => {
  expect(formatServices([{ ...service, backends: [refused] }], COLOURED)).toContain(
    "\u001b[31mout of use: no route to it\u001b[39m",
  );
});
