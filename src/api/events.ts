/** The event stream of `GET /v1/events`: server-sent events (WHATWG HTML s. 9.2), of which only what the agent uses. */
import type { AgentEvent } from "../agent/events.ts";
import { type InJson, inJson } from "./status.ts";

/** The data of a message in the stream. */
export type EventBody = InJson<AgentEvent>;

/** An event as a message of the stream. */
export function formatMessage(event: AgentEvent): string {
  return `event: ${event.kind}\ndata: ${JSON.stringify(inJson(event))}\n\n`;
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
