import fc from "fast-check";
import { expect, it } from "vitest";
import type { AgentEvent } from "../agent/event.ts";
import { formatMessage, parseMessages } from "./events.ts";
import { inJson } from "./json.ts";

const event = fc.oneof(
  fc.record({
    kind: fc.constant("conflict" as const),
    time: fc.string(),
    // Interface names may hold what is special in the format.
    interface: fc.oneof(fc.string(), fc.constantFrom("a\n\nb", "data: {}", "\r")),
    service: fc.string(),
    mac: fc.string(),
  }),
  fc.record({ kind: fc.constant("lost" as const), time: fc.string(), lost: fc.bigInt({ min: 0n }) }),
);

it("gives back the events whatever the chunks, and drops a message that is cut short", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(event),
      fc.array(fc.integer({ min: 1, max: 40 })),
      async (events: AgentEvent[], lengths) => {
        const text = events.map(formatMessage).join("");
        async function* chunks() {
          let at = 0;
          for (const length of lengths) {
            yield text.slice(at, at + length);
            at += length;
          }
          yield text.slice(at);
          yield 'event: lost\ndata: {"kind"';
        }
        const bodies = [];
        for await (const body of parseMessages(chunks())) bodies.push(body);
        expect(bodies).toEqual(events.map((one) => inJson(one)));
      },
    ),
  );
});
