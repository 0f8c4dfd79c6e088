/** The command line as data, for the completion of shells. */
import type { Command } from "commander";

/** Shells that are completed. */
export const SHELLS = ["bash", "zsh", "fish"] as const;
export type Shell = (typeof SHELLS)[number];

/** What comes after an option or stands by itself: one of some words, the name of a file, directory or interface, or anything. */
export type ValueKind = { choices: readonly string[] } | "file" | "directory" | "interface" | "other";

/** An option of a command. */
export interface OptionNode {
  /** `--json`; with the short form behind it where there is one. */
  flags: readonly string[];
  description: string;
  /** Absent: it takes none. */
  value?: ValueKind;
}

/** A command with its options, arguments and commands below it. */
export interface CommandNode {
  name: string;
  description: string;
  options: readonly OptionNode[];
  arguments: readonly ValueKind[];
  commands: readonly CommandNode[];
}

/** What commander knows of a command. */
export function describeCommand(command: Command): CommandNode {
  const help = command.createHelp();
  return {
    name: command.name(),
    description: command.description(),
    options: help.visibleOptions(command).map(({ long, short, description, flags, argChoices }) => ({
      flags: [long, short].filter((flag) => flag !== undefined),
      description,
      ...(/[<[]/.test(flags) && { value: kindOf(/[<[]([\w-]+)/.exec(flags)?.[1], long, argChoices) }),
    })),
    arguments: command.registeredArguments.map((argument) =>
      kindOf(argument.name(), undefined, argument.argChoices),
    ),
    commands: help
      .visibleCommands(command)
      .filter((below) => below.name() !== "help")
      .map(describeCommand),
  };
}

/** What a value is, by the word that stands for it in the help: `<file>`; a `<name>` is an interface's where the option or argument says no other. */
function kindOf(
  word: string | undefined,
  option: string | undefined,
  choices: readonly string[] | undefined,
): ValueKind {
  if (choices !== undefined) return { choices };
  if (word === "file" || word === "path") return "file";
  if (word === "dir") return "directory";
  return word === "name" && (option === undefined || option === "--interface") ? "interface" : "other";
}
