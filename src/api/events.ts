/** The event stream of `GET /v1/events`: server-sent events (WHATWG HTML s. 9.2), of which only what the agent uses. */
import type { ServerResponse } from "node:http";
import * as z from "zod";
import type { Agent } from "../agent/agent.ts";
import type { AgentEvent } from "../agent/event.ts";
import { ERRORS } from "./errors.ts";
import { type InJson, toJson } from "./json.ts";
import { type ApiServer, flag, isSet } from "./schemas.ts";

/**
 * What a client may leave unread, in bytes: one that is slower than that is cut off, so that it cannot fill the agent's memory. More than
 * all the recent events take.
 */
const MAX_UNREAD = 2 ** 20;

/** The data of a message in the stream. */
export type EventBody = InJson<AgentEvent>;

/** An event as a message of the stream. */
export function formatMessage(event: AgentEvent): string {
  return `event: ${event.kind}\ndata: ${toJson(event)}\n\n`;
}

/** The events in a stream made by `formatMessage`, cut into chunks anywhere. A message that is not complete at the end is dropped. */
export async function* parseMessages(chunks: AsyncIterable<string>): AsyncGenerator<EventBody> {
  let text = "";
  for await (const chunk of chunks) {
    const messages = (text + chunk).split("\n\n");
    text = messages.pop() ?? "";
    for (const message of messages) {
      const data = /^data: (.*)$/m.exec(message)?.[1];
      if (data !== undefined) yield JSON.parse(data) as EventBody;
    }
  }
}

/** `GET /v1/events`: the recent events, and with `follow` those to come, with `flows` also of flows opened and closed. */
export function registerEvents(server: ApiServer, { events }: Pick<Agent, "events">): void {
  server.get(
    "/v1/events",
    {
      schema: {
        summary:
          "The recent events, and those to come, as server-sent events: the name is the kind, the data a JSON object",
        querystring: z.strictObject({
          follow: flag.describe("Go on with the events to come."),
          flows: flag.describe("With follow: flows opened and closed too, from now on."),
        }),
        response: {
          200: {
            description: "A stream of events.",
            content: { "text/event-stream": { schema: z.string() } },
          },
          ...ERRORS,
        },
      },
    },
    ({ query }, reply) => {
      reply.hijack();
      sendEvents(events, { follow: isSet(query.follow), flows: isSet(query.flows) }, reply.raw);
    },
  );
}

function sendEvents(
  events: Agent["events"],
  { follow, flows }: { follow: boolean; flows: boolean },
  response: ServerResponse,
): void {
  response.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-store" });
  response.flushHeaders();
  for (const event of events.recent()) response.write(formatMessage(event));
  if (!follow) {
    response.end();
    return;
  }
  const unsubscribe = events.subscribe(
    (event) => {
      response.write(formatMessage(event));
      if (response.writableLength <= MAX_UNREAD) return;
      unsubscribe();
      response.destroy();
    },
    { flows },
  );
  response.once("close", unsubscribe);
}
