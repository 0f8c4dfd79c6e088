import { join } from "node:path";
import type { Logger } from "pino";
import { isPattern } from "../config/names.ts";
import { type FieldError, formatFieldErrors, parseRegistration } from "../config/registration.ts";
import type { Config, InterfaceRule } from "../config/schema.ts";
import type { Registration, Registrations } from "./interfaces.ts";
import { openJsonFolder } from "./json-folder.ts";

/** Why an interface is not registered, or a registration not removed. */
export class RegistrationError extends Error {
  override readonly name = "RegistrationError";
  /** `invalid`: the fields are wrong. `conflict`: somebody else says what the interface is. `unknown`: no such registration. */
  readonly kind: "invalid" | "conflict" | "unknown";
  readonly errors: readonly FieldError[];
  constructor(kind: RegistrationError["kind"], errors: readonly FieldError[]) {
    super(formatFieldErrors(errors));
    this.kind = kind;
    this.errors = errors;
  }
}

/** The interfaces that were registered over the API: each in a file of its own, read again at the next start. */
export interface RegisteredInterfaces extends Registrations {
  /** Adds one, or replaces it. Throws where it cannot be saved; then nothing has changed. */
  put(rule: InterfaceRule): void;
  /** Says whether there was one. Throws where its file cannot be removed; then nothing has changed. */
  remove(name: string): boolean;
}

/** Where the registrations are kept. */
export function registrationsDir(stateDir: string): string {
  return join(stateDir, "interfaces");
}

/** Opens the registrations of a state directory. Files that cannot be understood are left out, and logged. */
export function openRegisteredInterfaces(stateDir: string, log: Logger): RegisteredInterfaces {
  const { folder, contents } = openJsonFolder(
    registrationsDir(stateDir),
    (name, content): Registration => ({ rule: readStoredRegistration(name, content), disabled: false }),
    log,
  );
  return {
    get: (name) => contents.get(name),
    names: () => contents.keys(),
    put(rule) {
      folder.write(rule.name, rule);
      contents.set(rule.name, { rule, disabled: false });
    },
    remove(name) {
      // The file first: where it cannot be removed, the registration stays.
      const hadFile = folder.remove(name);
      return contents.delete(name) || hadFile;
    },
  };
}

/** The rule that `content` gives to the interface `name`. Throws `RegistrationError`, also where the configuration has that name. */
export function readRegistration(
  name: string,
  content: unknown,
  config: Config,
  configFile: string,
): InterfaceRule {
  checkNotConfigured(name, config, configFile);
  const result = parseRegistration(name, content, config);
  if (!result.ok) throw new RegistrationError("invalid", result.errors);
  return result.rule;
}

/** The same of what was taken before: the configuration may have changed since, and wins. Throws `RegistrationError`. */
export function readStoredRegistration(name: string, content: unknown): InterfaceRule {
  const result = parseRegistration(name, content);
  if (!result.ok) throw new RegistrationError("invalid", result.errors);
  return result.rule;
}

/** For who comes second. */
export function registeredAlready(name: string): RegistrationError {
  const message = `${name} is registered already; take that back first (onlink interface remove ${name})`;
  return new RegistrationError("conflict", [{ field: "", message }]);
}

/** Removes the registration of `name`. Throws `RegistrationError` where there is none. */
export function removeRegistration(
  name: string,
  registrations: RegisteredInterfaces,
  config: Config,
  configFile: string,
): void {
  if (registrations.remove(name)) return;
  checkNotConfigured(name, config, configFile);
  throw new RegistrationError("unknown", [{ field: "", message: `${name} is not registered` }]);
}

/** What the file says of an interface holds; a registration beside it would only mislead. */
function checkNotConfigured(name: string, config: Config, configFile: string): void {
  if (isPattern(name) || !config.interfaces.some((rule) => rule.name === name)) return;
  const message = `${name} is configured in ${configFile}; change it there`;
  throw new RegistrationError("conflict", [{ field: "", message }]);
}
