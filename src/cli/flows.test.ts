import { expect, it } from "vitest";
import { FLOW } from "../api/fakes.ts";
import { inJson } from "../api/json.ts";
import { flowTable } from "./flows.ts";
import { PLAIN } from "./paint.ts";

it("has a line for each flow, page after page under the same headings", () => {
  const write = flowTable(PLAIN);
  const flow = inJson(FLOW);
  expect(write([])).toBe("");
  expect(write([flow])).toBe(`\
INTERFACE  PROTOCOL  GUEST           SERVICE                      BACKEND         STATE          AGE  IDLE      OUT       IN
tap0       tcp       10.0.1.3:40000  169.254.169.254:80 metadata  127.0.0.1:8775  established  5m12s    0s  1.5 KiB  1.0 EiB
`);
  const { serviceName: _, ...unnamed } = flow;
  expect(write([{ ...unnamed, state: "closing", opener: "host", bytesIn: 0 }])).toBe(
    "tap0       tcp       10.0.1.3:40000  169.254.169.254:80           127.0.0.1:8775  closing, by the host  5m12s    0s  1.5 KiB      0 B\n",
  );
});
