import { streamEvents } from "../api/client.ts";
import type { EventBody } from "../api/events.ts";
import { askAgent, type WhichAgent } from "./agent-socket.ts";
import { CommandError } from "./config.ts";
import { EXIT } from "./exit-codes.ts";
import { type Paint, PLAIN, paintFor } from "./paint.ts";

/** `onlink events`: what the datapath reported, and with `--follow` what it reports from now on. */
export async function events(
  options: WhichAgent & { follow?: boolean; flows?: boolean; json?: boolean },
): Promise<number> {
  const { follow = false, flows = false, json = false } = options;
  if (flows && !follow) {
    throw new CommandError(
      "onlink events: --flows needs --follow: the datapath reports flows only while somebody listens",
      EXIT.badInput,
    );
  }
  const paint = paintFor(process.stdout);
  await askAgent("events", options, async (socket) => {
    for await (const event of streamEvents(socket, { follow, flows }))
      process.stdout.write(json ? `${JSON.stringify(event)}\n` : formatEvent(event, paint));
  });
  return EXIT.ok;
}

/** One line for people: time, interface, what happened, between whom. */
export function formatEvent(event: EventBody, paint: Paint = PLAIN): string {
  const name = event.kind === "lost" ? "-" : event.interface;
  const isFlow = event.kind === "flow-opened" || event.kind === "flow-closed";
  const kind = event.kind.padEnd(11);
  return `${event.time}  ${name.padEnd(15)}  ${isFlow ? kind : paint.bad(kind)}  ${describe(event)}\n`;
}

function describe(event: EventBody): string {
  switch (event.kind) {
    case "conflict":
      return `${event.mac} claims ${event.service}`;
    case "spoofed":
      return `${event.protocol} ${event.guest} > ${event.service} from ${event.mac}`;
    case "limit":
      return describeEnds(event);
    case "flow-opened":
      return `${describeEnds(event)}, ${describeBackend(event)}`;
    case "flow-closed":
      return (
        `${describeEnds(event)}, ${describeBackend(event)}, ` +
        `out ${event.framesOut} frames ${event.bytesOut} bytes, in ${event.framesIn} frames ${event.bytesIn} bytes`
      );
    case "lost":
      return `${event.lost} events: they came too fast`;
  }
}

function describeEnds(event: Extract<EventBody, { guestPort: number }>): string {
  const { protocol, guest, guestPort, service, servicePort } = event;
  return `${protocol} ${guest}:${guestPort} > ${service}:${servicePort}`;
}

function describeBackend({ backend, backendPort }: { backend: string; backendPort: number }): string {
  return `backend ${backend}:${backendPort}`;
}
