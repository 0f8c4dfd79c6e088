import { show } from "./fields.ts";
import { formatPath } from "./load.ts";
import { isPattern } from "./names.ts";
import { findInterfaceBreaches } from "./rules.ts";
import { type Config, type InterfaceRule, interfaceSchema } from "./schema.ts";

/** What is wrong with one field of something that was sent. */
export interface FieldError {
  /** Such as `gateway.address`; empty when it is the whole. */
  field: string;
  /** What is wrong and what would be right. */
  message: string;
}

/** The errors as text, a line for each: `mac: wrong`, or the message alone where it is about no field. */
export function formatFieldErrors(errors: readonly FieldError[]): string {
  return errors.map(({ field, message }) => (field === "" ? message : `${field}: ${message}`)).join("\n");
}

/** The rule of an interface that is registered, or everything that is wrong with it. */
export type RegistrationResult = { ok: true; rule: InterfaceRule } | { ok: false; errors: FieldError[] };

/**
 * Reads what is registered for the interface `name`: the fields of an entry of `interfaces` less the name, by the same rules. `config` is what
 * the rules compare with; without it, the values are looked at by themselves alone. Never throws.
 */
export function parseRegistration(
  name: string,
  content: unknown,
  config?: Pick<Config, "services" | "fabric" | "agent">,
): RegistrationResult {
  const errors: FieldError[] = [];
  if (isPattern(name)) {
    errors.push({ field: "name", message: `${show(name)} is a pattern; expected the name of one interface` });
  }
  const isMap = typeof content === "object" && content !== null && !Array.isArray(content);
  if (isMap && "name" in content && content.name !== name) {
    errors.push({ field: "name", message: `${show(content.name)} is not ${show(name)}; leave it out here` });
  }
  const parsed = interfaceSchema.safeParse(isMap ? { ...content, name } : content);
  for (const { path, message } of parsed.error?.issues ?? [])
    errors.push({ field: formatPath(path), message });
  if (!parsed.success || errors.length > 0) return { ok: false, errors };
  const rule = parsed.data;
  const breaches =
    config === undefined
      ? []
      : findInterfaceBreaches(rule, config, (path) => `${formatPath(path)} of the configuration`);
  if (breaches.length === 0) return { ok: true, rule };
  return {
    ok: false,
    errors: breaches.map(({ path, message }) => ({ field: formatPath(path), message })),
  };
}
