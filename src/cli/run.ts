import { resolve } from "node:path";
import { type Logger, pino } from "pino";
import { type Agent, type AgentSummary, startAgent } from "../agent/agent.ts";
import { messageOf } from "../agent/errors.ts";
import { checkCapabilities } from "../agent/host-checks.ts";
import { bpffsToMount } from "../agent/runtime-dir.ts";
import { createMetrics } from "../api/metrics.ts";
import { servePortApi } from "../api/port-api.ts";
import { checkSocketPath, serveApi } from "../api/server.ts";
import { loadConfig } from "../config/load.ts";
import { readRegularFile } from "../config/read-file.ts";
import { watchFile } from "../config/watch.ts";
import { openServiceManager, type ServiceManager } from "../linux/service-manager.ts";
import { CommandError, readConfig } from "./config.ts";
import { EXIT } from "./exit-codes.ts";
import { version } from "./version.ts";

/** `onlink run`: the agent in the foreground, until SIGTERM or SIGINT. Logs are JSON lines on standard output. */
export async function run(options: { config: string; logLevel: string }): Promise<number> {
  const started = performance.now();
  const text = textOf(options.config);
  const config = readConfig(options.config);
  const capabilities = checkCapabilities(bpffsToMount(config.agent.runtimeDir));
  if (!capabilities.ok) {
    throw new CommandError(`capabilities ${capabilities.detail}; ${capabilities.mend}`, EXIT.failed);
  }
  checkSocketPath(config.api.socket, config.agent.runtimeDir);
  // Everything that the agent makes is its own user's alone.
  process.umask(0o077);
  // Written at once, so that a log says what was done up to a sudden end.
  const log = pino(
    { base: null, level: options.logLevel, timestamp: pino.stdTimeFunctions.isoTime },
    pino.destination({ dest: 1, sync: true }),
  );

  const manager = openServiceManager(process.env, (error) =>
    log.warn({ reason: error.message }, "cannot tell the service manager"),
  );
  const end = endOfRun();
  const metrics = createMetrics();
  const agent = startAgent({
    config,
    configFile: resolve(options.config),
    version: version(),
    log,
    onFailure: end.fail,
    onReconcile: metrics.onReconcile,
  });
  const following = followConfig(options.config, text, agent, manager, log);
  try {
    const served = [await serveApi({ socket: config.api.socket, agent, metrics })];
    try {
      const { listen } = config.api;
      if (listen !== undefined)
        served.push(await servePortApi({ listen, ports: agent.ports, measured: { agent, metrics } }));
      const { services, interfaces, fabric } = agent.status({ counted: () => false });
      log.info(
        {
          services: services.length,
          backends: services.flatMap(({ backends }) => backends).length,
          interfaces: interfaces.filter(({ state }) => state === "attached").length,
          fabric: fabric.filter(({ state }) => state === "attached").length,
          socket: config.api.socket,
          ...(listen !== undefined && { listen: `${listen.address}:${listen.port}` }),
          ms: Math.round(performance.now() - started),
        },
        "ready",
      );
      manager.status(statusLine(agent.summary()));
      manager.ready();
      const signal = await end.reached;
      log.info({ signal }, "stopping; the datapath stays in place");
      manager.stopping();
    } finally {
      for (const api of served) await api.close();
    }
  } finally {
    following.close();
    manager.close();
    await agent.stop();
  }
  return EXIT.ok;
}

/** What a file holds; undefined where it cannot be read. */
function textOf(file: string): string | undefined {
  try {
    return readRegularFile(file);
  } catch {
    return undefined;
  }
}

/** Has the agent take over the configuration whenever its file, which held `text` when it started, changes, and on SIGHUP. */
function followConfig(
  file: string,
  text: string | undefined,
  agent: Agent,
  manager: ServiceManager,
  log: Logger,
): { close(): void } {
  const reload = () => {
    agent.reload(loadConfig(file));
    manager.status(statusLine(agent.summary()));
  };
  const onHangup = () => {
    log.info({ file }, "reading the configuration again");
    manager.reloading();
    reload();
    manager.ready();
  };
  process.on("SIGHUP", onHangup);
  const watched = watchFile(file, {
    onChange: reload,
    onFailure: (error) =>
      log.warn(
        { file, reason: error.message },
        "cannot watch the configuration; after a change, send SIGHUP",
      ),
  });
  // It may have changed since the start; a large one takes long to parse.
  if (textOf(file) !== text) reload();
  return {
    close() {
      process.off("SIGHUP", onHangup);
      watched.close();
    },
  };
}

/** The agent in a line, for the service manager. */
function statusLine({ services, interfaces, refused }: AgentSummary): string {
  const problem = refused === undefined ? "" : `; configuration refused: ${refused}`;
  return `${services} services, ${interfaces} interfaces${problem}`;
}

/** Settles when the agent is to stop: with a signal's name, or with an error. */
function endOfRun(): { reached: Promise<NodeJS.Signals>; fail: (error: Error) => void } {
  const { promise, resolve, reject } = promiseWithResolvers<NodeJS.Signals>();
  // The error is met where the promise is awaited, which may be later than it happens.
  promise.catch(() => {});
  for (const signal of ["SIGTERM", "SIGINT"] as const) process.once(signal, resolve);
  return {
    reached: promise,
    fail: (error) => reject(new Error(`cannot follow the host's network: ${messageOf(error)}`)),
  };
}

function promiseWithResolvers<T>() {
  let resolve!: (value: T) => void;
  let reject!: (error: Error) => void;
  const promise = new Promise<T>((res, rej) => {
    resolve = res;
    reject = rej;
  });
  return { promise, resolve, reject };
}
