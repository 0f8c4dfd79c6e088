import { pino } from "pino";
import { desiredVif } from "../agent/interfaces.ts";
import { interfaceMatcher } from "../config/match.ts";
import { isInterfaceName, isPattern } from "../config/names.ts";
import { isUnicast, RESERVED_LINK_LOCAL } from "../config/ranges.ts";
import { effectiveCapabilities } from "../linux/capabilities.ts";
import { isInPrefix, LINK_LOCAL_PREFIX, parseIpv4, parseMac } from "../packet/address.ts";
import { type RespondOptions, startResponder } from "../respond/respond.ts";
import { CommandError, readConfig } from "./config.ts";
import { EXIT } from "./exit-codes.ts";

/** Options of `onlink respond`. */
export interface RespondCommand {
  interface?: string[];
  address?: string[];
  mac?: string;
  gateway?: string;
  echo?: boolean;
  config?: string;
}

/** `onlink respond`: answers ARP for service addresses from user space, until SIGTERM or SIGINT. Logs are JSON lines on standard output. */
export async function respond(options: RespondCommand): Promise<number> {
  const plan = options.config === undefined ? planByOptions(options) : planByConfig(options);
  checkSystem(plan.names);
  // Written at once, so that a log says what was done up to a sudden end.
  const log = pino(
    { base: null, timestamp: pino.stdTimeFunctions.isoTime },
    pino.destination({ dest: 1, sync: true }),
  );
  let fail: (error: Error) => void = () => {};
  const end = new Promise<NodeJS.Signals>((resolve, reject) => {
    for (const signal of ["SIGTERM", "SIGINT"] as const) process.once(signal, resolve);
    fail = (error) => reject(new Error(`cannot follow the host's interfaces: ${error.message}`));
  });
  // Met where it is awaited, which may be later than it happens.
  end.catch(() => {});
  const responder = startResponder({ ...plan, log, onFailure: fail });
  try {
    log.info({ interfaces: responder.interfaces() }, "ready");
    const signal = await end;
    log.info({ signal, ...responder.totals() }, "stopping");
  } finally {
    await responder.stop();
  }
  return EXIT.ok;
}

type Plan = Pick<RespondOptions, "names" | "settingsFor">;

/** What the options ask for. Throws a `CommandError`. */
function planByOptions(options: RespondCommand): Plan {
  const { interface: names = [], address: addresses = [], mac, gateway, echo = false } = options;
  if (names.length === 0 || addresses.length === 0)
    throw refusal("--interface and --address are needed, or --config FILE, which has both");
  for (const name of names) {
    if (process.platform === "linux" && (!isInterfaceName(name) || isPattern(name)))
      throw refusal(`${JSON.stringify(name)} is not the name of an interface; patterns are for --config`);
  }
  for (const address of addresses) checkServiceAddress(address);
  if (mac !== undefined) checkMac(mac);
  if (gateway !== undefined) checkGateway(gateway, addresses);
  const settings = {
    addresses: [...new Set(addresses)],
    echo,
    arpReply: "unicast" as const,
    ...(mac !== undefined && { mac: mac.toLowerCase() }),
    ...(gateway !== undefined && { gateway }),
  };
  const wanted = new Set(names);
  return { names: [...wanted], settingsFor: (name) => (wanted.has(name) ? settings : undefined) };
}

/** What a configuration asks for: the addresses of its services, on its interfaces. Throws a `CommandError`. */
function planByConfig(options: RespondCommand): Plan {
  const { config: file = "", mac, echo = false } = options;
  for (const name of ["interface", "address", "gateway"] as const)
    if (options[name] !== undefined) throw refusal(`--${name} is not for --config, which has it in the file`);
  if (mac !== undefined) checkMac(mac);
  const config = readConfig(file);
  const names = config.interfaces.map(({ name }) => name);
  const patterns = names.filter(isPattern);
  if (process.platform !== "linux" && patterns.length > 0)
    throw refusal(
      `interfaces by pattern (${patterns.join(", ")}) are followed on Linux alone; give their names in ${file}`,
    );
  const addresses = [...new Set(config.services.map(({ address }) => address))];
  if (addresses.length === 0) throw refusal(`${file} has no services; there is nothing to answer for`);
  const ruleOf = interfaceMatcher(config);
  return {
    names: names.filter((name) => !isPattern(name)),
    settingsFor(name) {
      const rule = ruleOf(name);
      if (rule === undefined) return undefined;
      const { gateway, arpReply } = desiredVif(rule, config.defaults, "");
      return {
        addresses,
        echo,
        arpReply,
        ...(mac !== undefined && { mac: mac.toLowerCase() }),
        ...(gateway !== undefined && { gateway }),
      };
    },
  };
}

/** To answer for any other address would be to take it from its owner. */
function checkServiceAddress(address: string): void {
  const parsed = parseIpv4(address);
  if (!parsed.ok) throw refusal(`--address: ${parsed.error.message}`);
  const isUsable =
    isInPrefix(address, LINK_LOCAL_PREFIX) &&
    !RESERVED_LINK_LOCAL.some((prefix) => isInPrefix(address, prefix));
  if (!isUsable)
    throw refusal(
      `--address: ${address} is not a link-local address for services; expected 169.254.1.0-169.254.254.255, or a configuration with allowAnyAddress`,
    );
}

function checkMac(mac: string): void {
  const parsed = parseMac(mac);
  if (!parsed.ok) throw refusal(`--mac: ${parsed.error.message}`);
  // The lowest bit of the first byte marks group addresses (IEEE 802).
  if ((parsed.value[0]! & 1) === 1)
    throw refusal(`--mac: ${mac} is a group address; give that of an interface`);
}

function checkGateway(gateway: string, addresses: readonly string[]): void {
  const parsed = parseIpv4(gateway);
  if (!parsed.ok) throw refusal(`--gateway: ${parsed.error.message}`);
  if (!isUnicast(gateway) || addresses.includes(gateway))
    throw refusal(`--gateway: ${gateway} cannot be a gateway; give the guests' one, such as 10.0.1.1`);
}

/** What would otherwise show only once an interface is there. */
function checkSystem(names: readonly string[]): void {
  if (process.platform === "linux") {
    if (!effectiveCapabilities().has("CAP_NET_RAW"))
      throw new CommandError("to capture and send takes root or CAP_NET_RAW; run it with sudo", EXIT.failed);
    return;
  }
  // A thread of libuv's pool waits for each; one is left for the rest.
  const most = Number(process.env.UV_THREADPOOL_SIZE ?? 4) - 1;
  if (names.length > most)
    throw refusal(
      `${names.length} interfaces, at most ${most} on this system; set UV_THREADPOOL_SIZE=${names.length + 1} in the environment`,
    );
}

function refusal(message: string): CommandError {
  return new CommandError(`onlink respond: ${message}`, EXIT.badInput);
}
