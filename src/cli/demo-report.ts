/** What the demo saw in its guests, as text, and whether it is as it should be. Pure: demo.ts looks and prints. */
import type { GuestBehaviour } from "../lab/topology.ts";
import { GATEWAY_MAC } from "../packet/address.ts";
import type { Paint } from "./paint.ts";
import { formatTable } from "./table.ts";

/** The service address of the demo. */
export const SERVICE_ADDRESS = "169.254.169.254";

/** What a request of a guest gave: the service's answer, or the words of the client that got none. */
export type Answer = { status: number; seenFrom: string } | { error: string };

/** A guest at one moment. */
export interface Observation {
  behaviour: GuestBehaviour;
  /** The guest's own address and its gateway's. */
  address: string;
  gateway: string;
  /** What each command wrote, a line each. */
  routes: string[];
  neighbours: string[];
  answer: Answer;
}

/** The commands of an observation as the reader could type them, in the order in which they are shown. */
export const COMMANDS = {
  routes: ["ip", "-4", "route"],
  request: ["curl", "-m", "2", `http://${SERVICE_ADDRESS}/`],
  neighbours: ["ip", "-4", "neigh"],
} as const;

const WAYS: Record<GuestBehaviour, (gateway: string) => string> = {
  routed: (gateway) => `sends link-local packets to its gateway ${gateway}, as Linux does`,
  "on-link": () => "asks for link-local addresses by ARP itself, as Windows does",
};

/** A guest's tables and what its request gave, for people; lines of at most 80 columns as a rule. */
export function formatObservation(seen: Observation, paint: Paint): string {
  const { behaviour, address, gateway, routes, neighbours, answer } = seen;
  return [
    paint.heading(`${behaviour} guest ${address}`),
    `  (${WAYS[behaviour](gateway)})`,
    `  $ ${COMMANDS.routes.join(" ")}`,
    ...routes.map((line) => `  ${line}`),
    `  $ ${COMMANDS.request.join(" ")}`,
    "error" in answer
      ? `  ${paint.bad(answer.error)}`
      : `  ${paint.good(`status ${answer.status}`)}, and the service saw this guest as ${answer.seenFrom}`,
    `  $ ${COMMANDS.neighbours.join(" ")}`,
    ...neighbours.map((line) => `  ${paintNeighbour(line, paint)}`),
  ]
    .map((line) => `${line}\n`)
    .join("");
}

function paintNeighbour(line: string, paint: Paint): string {
  if (!line.startsWith(`${SERVICE_ADDRESS} `)) return line;
  return hasGatewayMac(line) ? paint.good(line) : paint.bad(line);
}

/** All guests in one table, before and after. */
export function formatSummary(before: readonly Observation[], after: readonly Observation[]): string {
  return formatTable(
    ["GUEST", "WITHOUT ONLINK", "WITH ONLINK"],
    before.map((seen, index) => [seen.behaviour, summary(seen), summary(after[index] ?? seen)]),
  );
}

function summary(seen: Observation): string {
  const neighbour = serviceNeighbour(seen);
  return [
    "error" in seen.answer ? "no answer" : `status ${seen.answer.status}`,
    ...(neighbour === undefined
      ? []
      : [`neighbour ${/lladdr (\S+)/.exec(neighbour)?.[1] ?? neighbour.split(" ").at(-1)}`]),
  ].join(", ");
}

/** What is not as the demo promises, a sentence each; empty when all is well. */
export function findFaults(before: readonly Observation[], after: readonly Observation[]): string[] {
  const faults: string[] = [];
  const onLink = before.find(({ behaviour }) => behaviour === "on-link");
  if (onLink !== undefined && !("error" in onLink.answer))
    faults.push("without onlink, the on-link guest got an answer: something else serves this address");
  if (onLink !== undefined && !serviceNeighbour(onLink)?.endsWith(" FAILED"))
    faults.push(`without onlink, the on-link guest has no FAILED neighbour ${SERVICE_ADDRESS}`);
  for (const { behaviour, answer } of after) {
    if ("error" in answer) faults.push(`with onlink, the ${behaviour} guest got no answer: ${answer.error}`);
    else if (answer.status !== 200)
      faults.push(`with onlink, the ${behaviour} guest got status ${answer.status} instead of 200`);
  }
  for (const seen of after.filter(({ behaviour }) => behaviour === "on-link")) {
    if (!hasGatewayMac(serviceNeighbour(seen) ?? ""))
      faults.push(`with onlink, the on-link guest's neighbour ${SERVICE_ADDRESS} is not ${GATEWAY_MAC}`);
  }
  return faults;
}

function serviceNeighbour({ neighbours }: Observation): string | undefined {
  return neighbours.find((line) => line.startsWith(`${SERVICE_ADDRESS} `));
}

function hasGatewayMac(neighbour: string): boolean {
  return neighbour.includes(` lladdr ${GATEWAY_MAC} `);
}
