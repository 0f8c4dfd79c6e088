import { formatWorkaround, type WorkaroundTarget, workaround as write } from "../endpoint/workaround.ts";
import { CommandError } from "./config.ts";
import { EXIT } from "./exit-codes.ts";

/** `onlink workaround`: prints the routes that a guest needs where there is no onlink. */
export function workaround(options: {
  to: string[];
  gateway: string;
  for: WorkaroundTarget;
  interface?: string;
}): number {
  const { for: target, ...rest } = options;
  try {
    process.stdout.write(formatWorkaround(target, write({ ...rest, target })));
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new CommandError(`onlink workaround: ${error.message}`, EXIT.badInput);
  }
  return EXIT.ok;
}
