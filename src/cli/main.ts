import { Argument, Command, CommanderError, Option } from "commander";
import type { Flow, FlowKey } from "../datapath/types.ts";
import { DEFAULT_DESTINATION } from "../endpoint/explain.ts";
import { WORKAROUND_TARGETS } from "../endpoint/workaround.ts";
import { describeCommand, SHELLS } from "./command-tree.ts";
import { CommandError, DEFAULT_CONFIG } from "./config.ts";
import { EXIT, EXIT_HELP, EXPLAIN_EXIT_HELP, IMPORT_EXIT_HELP, WHY_EXIT_HELP } from "./exit-codes.ts";
import { version } from "./version.ts";

/**
 * The command line. Each command's module is loaded when it runs, so that help is quick and needs neither root nor libbpf;
 * it takes its options and gives the exit status.
 */
export function commandLine(setExitCode: (code: number) => void): Command {
  const program = new Command("onlink")
    .description("Link-local services (metadata, DNS, NTP, ...) for every VM and container on this host")
    .version(version())
    .option("-v, --verbose", "on errors, show where they come from (also: ONLINK_DEBUG=1)")
    .exitOverride()
    .showHelpAfterError("(onlink --help tells more)");

  /** Adds a command with its examples and the meaning of its exit status. */
  function command(
    name: string,
    description: string,
    examples: readonly string[],
    exitHelp = EXIT_HELP,
    parent = program,
  ): Command {
    const lines = examples.map((example) => `  ${example}`).join("\n");
    return parent
      .command(name)
      .description(description)
      .addHelpText("after", `\nExamples:\n${lines}\n${exitHelp}`);
  }

  command("run", 'run the agent in the foreground; it logs "ready" when services answer', [
    "onlink run",
    "onlink run --config ./onlink.yaml",
  ])
    .option("--config <file>", "the configuration", DEFAULT_CONFIG)
    .addOption(
      new Option("--log-level <level>", "the least that is worth a line in the log")
        .choices(["error", "warn", "info"])
        .default("info"),
    )
    .action(async (options) => setExitCode(await (await import("./run.ts")).run(options)));

  command("check", "is the configuration right, and can this host run it?", [
    "onlink check",
    "onlink check --config ./onlink.yaml --json",
  ])
    .option("--config <file>", "the configuration", DEFAULT_CONFIG)
    .option("--json", "for programs")
    .action(async (options) => setExitCode(await (await import("./check.ts")).check(options)));

  command("status", "is all well with the running agent, and what is not; services, interfaces, counters", [
    "onlink status",
    "onlink status --json",
    "onlink status --socket /run/onlink/onlink.sock",
  ])
    .option("--config <file>", "find the agent's socket in this configuration")
    .option("--socket <path>", "the agent's socket")
    .option("--json", "for programs")
    .action(async (options) => setExitCode(await (await import("./status.ts")).status(options)));

  command("services", "the services, and how their backends stand", [
    "onlink services",
    "onlink services --json",
  ])
    .option("--config <file>", "find the agent's socket in this configuration")
    .option("--socket <path>", "the agent's socket")
    .option("--json", "for programs")
    .action(async (options) => setExitCode(await (await import("./services.ts")).services(options)));

  command("interfaces", "which interfaces are vifs, their flows, and what went over them", [
    "onlink interfaces",
    "onlink interfaces --json",
  ])
    .option("--config <file>", "find the agent's socket in this configuration")
    .option("--socket <path>", "the agent's socket")
    .option("--json", "for programs")
    .action(async (options) => setExitCode(await (await import("./interfaces.ts")).interfaces(options)));

  command("flows", "the flows now: who talks to which backend, since when, and how much", [
    "onlink flows",
    "onlink flows --interface tap0 --service metadata",
    "onlink flows --guest 10.0.1.3 --json",
    "onlink flows --backend 10.0.0.2:53 --protocol udp --limit 20",
  ])
    .option("--interface <name>", "of the guest behind this interface")
    .option("--service <name>", "of this service")
    .option("--guest <address>", "of guests with this address")
    .option("--backend <address>", "to this backend, with or without its port")
    .addOption(
      new Option("--protocol <protocol>", "of this protocol").choices(["tcp", "udp", "icmp"] satisfies Array<
        FlowKey["protocol"]
      >),
    )
    .addOption(
      new Option("--state <state>", "in this state").choices([
        "opening",
        "established",
        "closing",
      ] satisfies Array<Flow["state"]>),
    )
    .option("--limit <count>", "so many of them at most")
    .option("--config <file>", "find the agent's socket in this configuration")
    .option("--socket <path>", "the agent's socket")
    .option("--json", "for programs: one JSON object a line")
    .action(async (options) => setExitCode(await (await import("./flows.ts")).flows(options)));

  const interfaces = program
    .command("interface")
    .description("register interfaces with the running agent, whether they are there yet or not");
  const subcommand = (name: string, description: string, examples: readonly string[]) =>
    command(name, description, examples, EXIT_HELP, interfaces)
      .option("--config <file>", "find the agent's socket in this configuration")
      .option("--socket <path>", "the agent's socket")
      .option("--json", "for programs");
  subcommand("add", "register an interface, or replace its registration; kept over restarts", [
    "onlink interface add tap0",
    "onlink interface add tap0 --instance-id 6f3a0a3e-3b1c-4f0e-9a53-1f3a6a1d2c11 --address 10.0.1.3 --mac 02:00:0a:00:01:03",
    "onlink interface add tap0 --gateway 10.0.1.1 --answer-arp",
    "onlink interface add tap0 --file tap0.yaml",
  ])
    .argument("<name>", "the interface's full name")
    .option("--instance-id <uuid>", "the guest's instance")
    .option("--project-id <uuid>", "the guest's project")
    .option("--address <address...>", "the guest's IPv4 addresses; the first is whom the host reaches")
    .option("--mac <mac>", "the guest's MAC")
    .option("--gateway <address>", "the guest's gateway")
    .option("--answer-arp", "answer ARP requests for the gateway")
    .option("--no-anti-spoof", "take what the guest sends from any address")
    .option("--unknown-port <how>", "reject or drop what has no service")
    .option("--arp-reply <how>", "unicast or broadcast")
    .option("--file <file>", "the fields as YAML or JSON, as in the configuration; - for standard input")
    .action(async (name, options) =>
      setExitCode(await (await import("./interface.ts")).addInterface(name, options)),
    );
  subcommand("remove", "take the registration of an interface back", ["onlink interface remove tap0"])
    .argument("<name>", "the interface's full name")
    .action(async (name, options) =>
      setExitCode(await (await import("./interface.ts")).removeInterface(name, options)),
    );
  subcommand("show", "an interface and what was registered for it, or all interfaces", [
    "onlink interface show",
    "onlink interface show tap0 --json",
  ])
    .argument("[name]", "the interface's full name")
    .action(async (name, options) =>
      setExitCode(await (await import("./interface.ts")).showInterface(name, options)),
    );

  const metadata = program
    .command("metadata")
    .description("what is said about a guest over the API, for the builtin metadata service");
  for (const [name, description, example] of [
    ["get", "print what counts for a guest, secrets included", "onlink metadata get tap0"],
    [
      "set",
      "say what counts for a guest, whatever files and configuration say",
      "onlink metadata set tap0 --file tap0.yaml",
    ],
    [
      "patch",
      "change what counts for a guest by a JSON merge patch (RFC 7396)",
      "echo '{hostname: web}' | onlink metadata patch tap0 --file -",
    ],
    ["remove", "remove what was set; files and configuration count again", "onlink metadata remove tap0"],
  ] as const) {
    const subcommand = command(name, description, [example], EXIT_HELP, metadata)
      .argument("<key>", "the name of an interface, or the UUID of an instance")
      .option("--config <file>", "find the agent's socket in this configuration")
      .option("--socket <path>", "the agent's socket");
    if (name === "set" || name === "patch")
      subcommand.requiredOption("--file <file>", "YAML or JSON; - for standard input");
    subcommand.action(async (key, options) =>
      setExitCode(await (await import("./metadata.ts")).metadataCommands[name](key, options)),
    );
  }

  command(
    "why",
    "why does this guest not reach a service? What the datapath has seen, link by link, and the mend",
    [
      "onlink why tap0",
      "onlink why 10.0.1.3 169.254.169.254:80",
      "onlink why 6f3a0a3e-3b1c-4f0e-9a53-1f3a6a1d2c11 169.254.169.253 --json",
    ],
    WHY_EXIT_HELP,
  )
    .argument(
      "<guest>",
      "its vif's name, its instance id, one of its addresses, its metadata address or its MAC",
    )
    .argument("[address[:port]]", `the service (default: ${DEFAULT_DESTINATION}, any port)`)
    .option("--config <file>", "find the agent's socket in this configuration")
    .option("--socket <path>", "the agent's socket")
    .option("--json", "for programs")
    .action(async (guest, to, options) =>
      setExitCode(await (await import("./why.ts")).why(guest, to, options)),
    );

  command("events", "what the datapath reports: conflicts, spoofed sources, limits, flows", [
    "onlink events",
    "onlink events --follow",
    "onlink events --follow --flows --json",
  ])
    .option("--follow", "go on with the events to come")
    .option("--flows", "with --follow: flows opened and closed too")
    .option("--config <file>", "find the agent's socket in this configuration")
    .option("--socket <path>", "the agent's socket")
    .option("--json", "for programs: one JSON object a line")
    .action(async (options) => setExitCode(await (await import("./events.ts")).events(options)));

  command("trace", "what the datapath would do with each frame of a capture (pcap, pcapng); needs no root", [
    "onlink trace guest.pcap",
    "onlink trace guest.pcapng --config ./onlink.yaml --interface tap0",
    "onlink trace guest.pcap --json",
  ])
    .argument("<file>", "the capture")
    .option("--config <file>", `the configuration (default: ${DEFAULT_CONFIG} where it is there)`)
    .option("--interface <name>", "the guest is behind this interface: its addresses and gateway count")
    .option("--json", "for programs: one JSON object a line")
    .action(async (file, options) => setExitCode(await (await import("./trace.ts")).trace(file, options)));

  command(
    "capture",
    "what passes on a guest's interface to and from service addresses: decoded, or as a pcapng file",
    [
      "onlink capture tap0",
      "onlink capture tap0 --write guest.pcapng --duration 30s",
      "onlink capture tap0 --write - | wireshark -k -i -",
    ],
  )
    .argument("<interface>", "the vif")
    .option(
      "-w, --write <file>",
      "write pcapng to a new file, or to standard output (-), instead of a line for each packet",
    )
    .option("--count <number>", "end after so many packets")
    .option("--duration <time>", "end after so long, such as 10s")
    .option("--address <address...>", "these addresses, instead of those of the agent's services")
    .option(
      "--config <file>",
      "find the agent's socket in this configuration, and the services where no agent answers",
    )
    .option("--socket <path>", "the agent's socket")
    .action(async (name, options) =>
      setExitCode(await (await import("./capture.ts")).capture(name, options)),
    );

  command(
    "respond",
    "answer ARP for service addresses from user space, where the datapath cannot be; needs libpcap",
    [
      "onlink respond --interface tap0 --address 169.254.169.254",
      "onlink respond --interface tap0 --interface tap1 --address 169.254.169.254 --mac 00:00:5e:00:01:00",
      "onlink respond --config ./onlink.yaml --echo",
    ],
  )
    .option("--interface <name...>", "answer on these interfaces")
    .option("--address <address...>", "answer for these service addresses")
    .option(
      "--mac <mac>",
      "the MAC that answers: that of whoever serves the packets (default: the interface's own)",
    )
    .option("--gateway <address>", "answer for the guests' gateway too")
    .option("--echo", "answer pings of the service addresses too")
    .option("--config <file>", "services and interfaces as in this configuration, patterns included")
    .action(async (options) => setExitCode(await (await import("./respond.ts")).respond(options)));

  command("down", "take away everything that onlink made on this host; the agent must be stopped", [
    "onlink down",
    "onlink down --runtime-dir /run/onlink",
  ])
    .option("--config <file>", "find the runtime directory in this configuration")
    .option("--runtime-dir <dir>", "the agent's runtime directory")
    .action(async (options) => setExitCode(await (await import("./down.ts")).down(options)));

  command(
    "explain",
    "a guest's own routing and neighbour tables in; which way its packets go, what is wrong, and the mend, out",
    [
      "onlink explain < pasted.txt",
      "onlink explain --to 169.254.169.253 routes.txt neighbours.txt",
      "ssh guest 'ip route; ip neigh' | onlink explain --json",
    ],
    EXPLAIN_EXIT_HELP,
  )
    .argument(
      "[file...]",
      "what the guest printed, several commands' output in one or more files (default: standard input)",
    )
    .option("--to <address>", "the service address", DEFAULT_DESTINATION)
    .option("--json", "for programs")
    .action(async (files, options) =>
      setExitCode(await (await import("./explain.ts")).explain(files, options)),
    );

  command(
    "workaround",
    "the routes that a guest needs where there is no onlink, as text to paste or include",
    [
      "onlink workaround --to 169.254.169.254 --gateway 10.0.0.1 --for windows",
      "onlink workaround --to 169.254.169.254 169.254.169.253 --gateway 10.0.1.1 --for dhcp",
      "onlink workaround --to 169.254.169.254 --gateway 10.0.1.1 --for netplan --interface eth0",
    ],
  )
    .requiredOption("--to <address...>", "service addresses")
    .requiredOption("--gateway <address>", "the guest's gateway")
    .addOption(
      new Option("--for <target>", "the guest's system, or what gives it its routes")
        .choices(WORKAROUND_TARGETS)
        .makeOptionMandatory(),
    )
    .option("--interface <name>", "the guest's interface (windows: its number)")
    .action(async (options) => setExitCode((await import("./workaround.ts")).workaround(options)));

  const imports = program
    .command("import")
    .description("turn another system's configuration into one of onlink");
  command(
    "contrail",
    "OpenSDN's link-local services (global-vrouter-config, JSON or XML) to standard output, as a configuration",
    [
      "onlink import contrail global-vrouter-config.json > /etc/onlink/onlink.yaml",
      "curl -s http://127.0.0.1:8082/global-vrouter-config/UUID | onlink import contrail -",
    ],
    IMPORT_EXIT_HELP,
    imports,
  )
    .argument("<file>", "the global-vrouter-config; - for standard input")
    .action(async (file) => setExitCode((await import("./import.ts")).importContrail(file)));

  command(
    "demo",
    "show the problem and its end with two guests, in network namespaces (root) or else simulated; leaves nothing behind",
    ["onlink demo", "onlink demo --simulate", "NO_COLOR=1 onlink demo"],
  )
    .option("--simulate", "without root and without Linux: every frame as the models decide")
    .action(async (options) => setExitCode(await (await import("./demo.ts")).demo(options)));

  command("completion", "what a shell needs to complete the command line, as text to source or to install", [
    "onlink completion bash > /etc/bash_completion.d/onlink",
    "onlink completion zsh > /usr/local/share/zsh/site-functions/_onlink",
    "onlink completion fish > /etc/fish/completions/onlink.fish",
    ". <(onlink completion bash)",
  ])
    .addArgument(new Argument("<shell>", "the shell").choices(SHELLS))
    .action(async (shell) =>
      setExitCode((await import("./completion.ts")).completion(shell, describeCommand(program))),
    );

  return program;
}

/** `onlink trace FILE | head`: whoever reads has enough, which is no failure. */
function endWhenNobodyReads(error: NodeJS.ErrnoException): void {
  if (error.code !== "EPIPE") throw error;
  process.exit(EXIT.ok);
}

/** Runs one command line (without node and script) and returns the exit status. */
export async function main(args: readonly string[]): Promise<number> {
  let exitCode: number = EXIT.ok;
  // The agent logs to the descriptor itself. A stream on it would make it non-blocking, and then a log that is written faster than it is read
  // waits for 100 ms each time that it has to wait at all: up to a second of a start.
  const isAgent = args.find((arg) => !arg.startsWith("-")) === "run";
  if (!isAgent && process.stdout.listenerCount("error") === 0) process.stdout.on("error", endWhenNobodyReads);
  const program = commandLine((code) => {
    exitCode = code;
  });
  try {
    await program.parseAsync(args, { from: "user" });
    return exitCode;
  } catch (error) {
    // Help and version end this way too, with 0; commander has printed what there is to say.
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.badInput;
    const wantsStack = program.opts().verbose || (process.env.ONLINK_DEBUG ?? "") !== "";
    const { message, stack } = error instanceof Error ? error : new Error(String(error));
    const exit = error instanceof CommandError ? error.exitCode : EXIT.failed;
    // Errors of the configuration come many at once, each with its place; the others are sentences.
    console.error(exit === EXIT.badInput ? message : `onlink: ${message}`);
    if (wantsStack) console.error(stack);
    return exit;
  }
}
