import { deleteInterface, fetchInterface, fetchInterfaces, putInterface } from "../api/client.ts";
import type { InterfaceBody } from "../api/interfaces.ts";
import { askAgent, type WhichAgent } from "./agent-socket.ts";
import { CommandError } from "./config.ts";
import { EXIT } from "./exit-codes.ts";
import { readInputFile } from "./input-file.ts";
import { formatInterfaces } from "./interfaces.ts";
import { paintFor } from "./paint.ts";

/** Options that all three commands have. */
type Options = WhichAgent & { json?: boolean };

/** What `onlink interface add` takes for a registration: its fields one by one, or a file that holds them. */
export interface RegistrationOptions {
  instanceId?: string;
  projectId?: string;
  address?: string[];
  mac?: string;
  gateway?: string;
  answerArp?: boolean;
  /** False by `--no-anti-spoof`. */
  antiSpoof?: boolean;
  unknownPort?: string;
  arpReply?: string;
  file?: string;
}

/** `onlink interface add`: registers an interface, or replaces its registration. */
export async function addInterface(name: string, options: Options & RegistrationOptions): Promise<number> {
  const registration = readRegistration(options);
  const body = await askAgent("interface add", options, (socket) => putInterface(socket, name, registration));
  print(options, body, `${name} registered: ${stateInWords(body)}\n`);
  return EXIT.ok;
}

/** `onlink interface remove`: takes a registration back. */
export async function removeInterface(name: string, options: Options): Promise<number> {
  await askAgent("interface remove", options, (socket) => deleteInterface(socket, name));
  print(options, {}, `${name} is not registered any more\n`);
  return EXIT.ok;
}

/** `onlink interface show`: one interface with its registration, or all. */
export async function showInterface(name: string | undefined, options: Options): Promise<number> {
  if (name === undefined) {
    const body = await askAgent("interface show", options, fetchInterfaces);
    print(options, body, formatInterfaces(body.interfaces, paintFor(process.stdout)));
  } else {
    const body = await askAgent("interface show", options, (socket) => fetchInterface(socket, name));
    print(options, body, formatDetails(body));
  }
  return EXIT.ok;
}

function print({ json }: Options, body: unknown, text: string): void {
  process.stdout.write(json ? `${JSON.stringify(body, null, 2)}\n` : text);
}

/** The registration that the options say, as the API takes it. Throws `CommandError`. */
export function readRegistration({ file, ...options }: RegistrationOptions): unknown {
  const {
    instanceId,
    projectId,
    address: addresses,
    mac,
    gateway,
    answerArp,
    unknownPort,
    arpReply,
  } = options;
  if (answerArp && gateway === undefined) {
    throw new CommandError("--answer-arp: for which address? Give --gateway ADDRESS too", EXIT.badInput);
  }
  const fields = {
    instanceId,
    projectId,
    addresses,
    mac,
    // What is not said is left to `defaults.antiSpoof`.
    antiSpoof: options.antiSpoof === false ? false : undefined,
    unknownPort,
    arpReply,
    gateway: gateway === undefined ? undefined : { address: gateway, answerArp: answerArp === true },
  };
  if (file === undefined) return fields;
  if (Object.values(fields).some((value) => value !== undefined)) {
    throw new CommandError("--file: the file holds all fields; give no others beside it", EXIT.badInput);
  }
  return readInputFile(file);
}

/** An interface for people: a field a line, what was registered below. */
export function formatDetails({ interface: found, registration }: InterfaceBody): string {
  const { addresses, gateway, metadata, ...others } = registration ?? {};
  const rows: Array<[string, unknown]> = [
    ["interface", found.name],
    ["state", stateInWords({ interface: found })],
    ["ifindex", found.state === "waiting" ? undefined : found.ifindex],
    ["flows", found.flows],
    ["registered", registration === undefined ? "no" : "yes"],
    ["addresses", addresses?.join(", ")],
    ["gateway", gateway && `${gateway.address}${gateway.answerArp ? ", ARP answered" : ""}`],
    ...Object.entries(others),
    // It may hold secrets, and is long.
    ["metadata", metadata && `see onlink metadata get ${found.name}`],
  ];
  const shown = rows.filter(([, value]) => value !== undefined);
  const width = Math.max(...shown.map(([field]) => field.length));
  const inWords = (value: unknown) => (typeof value === "object" ? JSON.stringify(value) : String(value));
  return shown.map(([field, value]) => `${field.padEnd(width)}  ${inWords(value)}\n`).join("");
}

function stateInWords({ interface: found }: Pick<InterfaceBody, "interface">): string {
  if (found.state === "attached") return `attached, metadata address ${found.metadataAddress}`;
  if (found.state === "failed") return `failed: ${found.reason}`;
  if (found.state === "waiting") return "waiting for the interface";
  return found.state;
}
