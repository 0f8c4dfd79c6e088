import { isDeepStrictEqual } from "node:util";
import type { Logger } from "pino";
import type { HealthCheck, Service } from "../config/schema.ts";
import type { Check } from "./checks.ts";
import { createLimiter } from "./limiter.ts";
import type { UnhealthyBackend } from "./saved-health.ts";
import { createSaver } from "./saver.ts";
import type { Endpoint } from "./targets.ts";

/** How a backend stands that is checked. */
export interface HealthState {
  /** Healthy until so many checks in a row have failed, and from the start, where no earlier agent knew better. */
  state: "healthy" | "unhealthy";
  /** Since when (ISO 8601). */
  since: string;
  /** Why the last check failed, where it did. */
  error?: string;
}

/** Checks the backends of services, each service on its own. */
export interface Health {
  /** Checks these backends of the service from now on, and no others; none where it has no `healthCheck`. */
  follow(service: Pick<Service, "name" | "healthCheck">, endpoints: readonly Endpoint[]): void;
  /** Goes on with the services of these names alone. */
  keepOnly(services: ReadonlySet<string>): void;
  /** Undefined where the backend is not checked. */
  stateOf(service: string, endpoint: Endpoint): HealthState | undefined;
  /** Stops; checks under way are given up. */
  close(): void;
}

/** What `createHealth` works on. */
export interface HealthOptions {
  checkOnce: Check;
  /** What `save` was given by an earlier agent: unhealthy until the first check says otherwise. */
  saved: readonly UnhealthyBackend[];
  /** Keeps the unhealthy backends over a restart. May throw: it is called again with the next change. */
  save: (unhealthy: UnhealthyBackend[]) => void;
  /** A backend of the service has become healthy or unhealthy. */
  onChange: (service: string) => void;
  log: Logger;
}

const MAX_CHECKS = 128;
/** Backends that were unhealthy before the start are checked within so many ms, however seldom they are checked else. */
const FIRST_CHECK = 1000;

interface Checked {
  check: HealthCheck;
  state: HealthState;
  /** Checks in a row that speak against `state`. */
  against: number;
  timer: NodeJS.Timeout | undefined;
  abort: AbortController;
}

/** See `Health`. */
export function createHealth({ checkOnce, saved, save, onChange, log }: HealthOptions): Health {
  const services = new Map<string, Map<string, Checked>>();
  const limit = createLimiter(MAX_CHECKS);
  const saver = createSaver(() => save(unhealthyBackends()), "the health of backends", log);
  /** What an earlier agent knew of backends that this one has not followed yet. */
  const known = new Map(saved.map((one) => [knownBy(one.service, one.backend), one]));

  function unhealthyBackends(): UnhealthyBackend[] {
    return [...services].flatMap(([service, checked]) =>
      [...checked].flatMap(
        ([
          backend,
          {
            state: { state, ...rest },
          },
        ]) => (state === "unhealthy" ? [{ service, backend, ...rest }] : []),
      ),
    );
  }

  /** `old`: what this agent knows of the backend. */
  function start(
    service: string,
    endpoint: Endpoint,
    check: HealthCheck,
    old: HealthState | undefined,
  ): Checked {
    const key = knownBy(service, placeOf(endpoint));
    const earlier = known.get(key);
    known.delete(key);
    const one: Checked = {
      check,
      ...startState(check, old, earlier),
      timer: undefined,
      abort: new AbortController(),
    };
    const within = earlier === undefined ? check.interval : Math.min(check.interval, FIRST_CHECK);
    // Spread from the start, so that many backends are not checked all at once.
    one.timer = setTimeout(() => void run(service, endpoint, one), Math.random() * within);
    return one;
  }

  async function run(service: string, endpoint: Endpoint, one: Checked): Promise<void> {
    const { check, abort } = one;
    const started = performance.now();
    const error = await limit(async () =>
      abort.signal.aborted ? undefined : await checkOnce(endpoint, check, abort.signal),
    );
    if (abort.signal.aborted) return;
    const wait = check.interval * (0.95 + Math.random() / 10) - (performance.now() - started);
    one.timer = setTimeout(() => void run(service, endpoint, one), Math.max(wait, 0));
    const before = one.state.state;
    Object.assign(one, stateAfter(one, error));
    if (one.state.state === before) return;
    saver.changed();
    onChange(service);
  }

  return {
    follow({ name, healthCheck }, endpoints) {
      const before = services.get(name) ?? new Map<string, Checked>();
      const now = new Map<string, Checked>();
      for (const endpoint of healthCheck === undefined ? [] : endpoints) {
        const place = placeOf(endpoint);
        const old = before.get(place);
        if (old !== undefined && isDeepStrictEqual(old.check, healthCheck)) now.set(place, old);
        else now.set(place, start(name, endpoint, healthCheck!, old?.state));
      }
      for (const [place, one] of before) if (now.get(place) !== one) stop(one);
      if (now.size > 0) services.set(name, now);
      else services.delete(name);
    },
    keepOnly(names) {
      for (const [name, checked] of services) {
        if (names.has(name)) continue;
        for (const one of checked.values()) stop(one);
        services.delete(name);
      }
    },
    stateOf: (service, endpoint) => services.get(service)?.get(placeOf(endpoint))?.state,
    close() {
      saver.close();
      for (const checked of services.values()) for (const one of checked.values()) stop(one);
      services.clear();
    },
  };
}

/** An earlier agent may have known better than to take a backend for healthy; it has been some time, so one good check is enough then. */
function startState(
  check: HealthCheck,
  old: HealthState | undefined,
  earlier: UnhealthyBackend | undefined,
): Pick<Checked, "state" | "against"> {
  if (old !== undefined) return { state: old, against: 0 };
  if (earlier === undefined)
    return { state: { state: "healthy", since: new Date().toISOString() }, against: 0 };
  const { since, error } = earlier;
  return {
    state: { state: "unhealthy", since, ...(error !== undefined && { error }) },
    against: check.healthyAfter - 1,
  };
}

function knownBy(service: string, backend: string): string {
  return `${service} ${backend}`;
}

function placeOf({ name, address, port }: Endpoint): string {
  return `${name ?? ""} ${address}:${port}`;
}

function stop({ timer, abort }: Checked): void {
  clearTimeout(timer);
  abort.abort();
}

/** What a check makes of a state. `error`: why it failed, or undefined. */
export function stateAfter(
  { state, against, check }: Pick<Checked, "state" | "against" | "check">,
  error: string | undefined,
): Pick<Checked, "state" | "against"> {
  const found = error === undefined ? "healthy" : "unhealthy";
  const { error: _, ...rest } = state;
  const last = error === undefined ? {} : { error };
  if (found === state.state) return { state: { ...rest, ...last }, against: 0 };
  const enough = found === "healthy" ? check.healthyAfter : check.unhealthyAfter;
  if (against + 1 < enough) return { state: { ...rest, ...last }, against: against + 1 };
  return { state: { state: found, since: new Date().toISOString(), ...last }, against: 0 };
}
