/** `onlink demo --simulate`: tells what `simulation.ts` finds. Needs neither root nor Linux, and imports nothing that does. */
import type { System } from "../endpoint/types.ts";
import { GATEWAY_MAC } from "../packet/address.ts";
import { describeFrame } from "../packet/describe.ts";
import { CommandError } from "./config.ts";
import { EXIT } from "./exit-codes.ts";
import { type Paint, paintFor } from "./paint.ts";
import {
  BACKEND,
  type Exchange,
  SERVICE,
  SIMULATED_GUESTS,
  type SimulatedNeighbour,
  simulate,
  simulatedDatapath,
} from "./simulation.ts";
import { formatTable } from "./table.ts";

const URL_OF_SERVICE = `http://${SERVICE.address}/`;

/** The commands with which a guest shows its tables. */
const COMMANDS: Record<Exchange["guest"]["system"], { prompt: string; routes: string; neighbours: string }> =
  {
    linux: { prompt: "$ ", routes: "ip -4 route", neighbours: "ip -4 neigh" },
    windows: {
      prompt: "C:\\> ",
      routes: "route print -4",
      neighbours: "netsh interface ipv4 show neighbors",
    },
  };

/** What the guests are called, as in the real demo. */
const BEHAVIOURS: Record<Exchange["guest"]["system"], string> = { linux: "routed", windows: "on-link" };

/** Words of `netsh interface ipv4 show neighbors`, for the states that the simulation has. */
const WINDOWS_STATES: Partial<Record<SimulatedNeighbour["state"], string>> = {
  reachable: "Reachable",
  failed: "Unreachable",
};

const WIDTH = 100;

/** Tells the whole story, and gives the exit status; throws a `CommandError` when it does not end as it should. */
export function demoSimulate(): number {
  const paint = paintFor(process.stdout);
  const before = SIMULATED_GUESTS.map((guest) => simulate(guest));
  const datapath = simulatedDatapath();
  const after = SIMULATED_GUESTS.map((guest) => simulate(guest, datapath));
  process.stdout.write(formatSimulation(before, after, paint));
  const faults = findFaults(before, after);
  if (faults.length > 0)
    throw new CommandError(["not as it should be:", ...faults].join("\n  "), EXIT.failed);
  console.log(
    `${paint.good("As it should be")}, in the simulation: no packet was sent, nothing on this machine was touched.`,
  );
  return EXIT.ok;
}

/** The story as text, up to the summary. */
export function formatSimulation(
  before: readonly Exchange[],
  after: readonly Exchange[],
  paint: Paint,
): string {
  const rows = before.map((exchange, index) => [
    BEHAVIOURS[exchange.guest.system],
    summary(exchange),
    summary(after[index] ?? exchange),
  ]);
  return [
    `Simulated: the guests decide as Linux and Windows do, onlink as its model does. The service runs`,
    `on the host's ${BACKEND.address}:${BACKEND.port}; the guests are to reach it at ${URL_OF_SERVICE}.`,
    "",
    paint.heading("1. Without onlink"),
    "",
    ...before.map((exchange) => formatExchange(exchange, paint)),
    paint.heading("2. With onlink"),
    "",
    ...after.map((exchange) => formatExchange(exchange, paint)),
    formatTable(["GUEST", "WITHOUT ONLINK", "WITH ONLINK"], rows),
  ].join("\n");
}

function formatExchange(exchange: Exchange, paint: Paint): string {
  const { guest, decision, frames, neighbours, answer } = exchange;
  const { prompt, routes, neighbours: showNeighbours } = COMMANDS[guest.system];
  return [
    paint.heading(`${BEHAVIOURS[guest.system]} guest ${guest.address} (${guest.system})`),
    `${prompt}${routes}`,
    ...guest.routes,
    ...wrap(`To ${SERVICE.address}: ${decision.reason}.`, WIDTH - 2).map((line) => `  ${line}`),
    `${prompt}curl ${URL_OF_SERVICE}`,
    ...frames.flatMap(({ at, from, frame, outcome }) => [
      `  ${at.toFixed(3)} s  ${from.padEnd(5)}  ${withoutMacs(describeFrame(frame))}`,
      ...wrap(outcome, WIDTH - 18).map((line) => `${" ".repeat(18)}${line}`),
    ]),
    answer === undefined
      ? `  ${paint.bad("no answer")}`
      : `  ${paint.good(`status ${answer.status}`)}, and the service saw this guest as ${answer.seenFrom}`,
    `${prompt}${showNeighbours}`,
    ...formatNeighbours(guest.system, neighbours).map((line) => paintNeighbour(line, paint)),
    "",
  ].join("\n");
}

/** A neighbour table as its system prints it. */
export function formatNeighbours(
  system: Extract<System, "linux" | "windows">,
  neighbours: readonly SimulatedNeighbour[],
): string[] {
  if (system === "linux") {
    return neighbours.map(
      ({ address, mac, state }) =>
        `${address} dev ens3 ${mac === undefined ? "" : `lladdr ${mac} `}${state.toUpperCase()}`,
    );
  }
  const row = (address: string, mac: string, state: string) =>
    `${address.padEnd(44)}  ${mac.padEnd(17)}  ${state}`.trimEnd();
  return [
    row("Internet Address", "Physical Address", "Type"),
    row("-".repeat(44), "-".repeat(17), "-".repeat(11)),
    ...neighbours.map(({ address, mac = "00:00:00:00:00:00", state }) =>
      row(address, mac.replaceAll(":", "-"), WINDOWS_STATES[state] ?? state),
    ),
  ];
}

function paintNeighbour(line: string, paint: Paint): string {
  if (!line.startsWith(`${SERVICE.address} `)) return line;
  return /FAILED|Unreachable/.test(line) ? paint.bad(line) : paint.good(line);
}

/** The middle of `describeFrame`: between the MACs and the length. */
function withoutMacs(description: string): string {
  return description.replace(/^\S+ > \S+, /, "").replace(/, length \d+$/, "");
}

/** Lines of at most `width` columns, broken at spaces. */
function wrap(text: string, width: number): string[] {
  const lines: string[] = [];
  for (const word of text.split(" ")) {
    const last = lines.at(-1);
    if (last !== undefined && last.length + 1 + word.length <= width)
      lines[lines.length - 1] = `${last} ${word}`;
    else lines.push(word);
  }
  return lines;
}

function summary({ answer, neighbours }: Exchange): string {
  const neighbour = neighbours.find(({ address }) => address === SERVICE.address);
  return [
    answer === undefined ? "no answer" : `status ${answer.status}`,
    ...(neighbour === undefined
      ? []
      : [`neighbour ${neighbour.mac ?? WINDOWS_STATES[neighbour.state] ?? neighbour.state}`]),
  ].join(", ");
}

/** What does not end as the story should, a sentence each; empty when all is well. */
export function findFaults(before: readonly Exchange[], after: readonly Exchange[]): string[] {
  return [
    ...before.flatMap(({ guest, answer }) =>
      answer === undefined ? [] : [`without onlink, the ${BEHAVIOURS[guest.system]} guest got an answer`],
    ),
    ...after.flatMap(({ guest, answer }) =>
      answer?.status === 200
        ? []
        : [`with onlink, the ${BEHAVIOURS[guest.system]} guest got no answer with status 200`],
    ),
    ...after.flatMap(({ guest, decision, neighbours }) =>
      decision.way !== "on-link" ||
      neighbours.some(({ address, mac }) => address === SERVICE.address && mac === GATEWAY_MAC)
        ? []
        : [`with onlink, the ${guest.system} guest's neighbour ${SERVICE.address} is not ${GATEWAY_MAC}`],
    ),
  ];
}
