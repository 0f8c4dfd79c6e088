import type { CommandNode, OptionNode, Shell, ValueKind } from "./command-tree.ts";
import { EXIT } from "./exit-codes.ts";

/** `onlink completion`: prints what a shell needs to complete the command line. */
export function completion(shell: Shell, program: CommandNode): number {
  process.stdout.write(SCRIPTS[shell](program));
  return EXIT.ok;
}

const SCRIPTS: Record<Shell, (program: CommandNode) => string> = {
  bash: bashCompletion,
  zsh: zshCompletion,
  fish: fishCompletion,
};

/** Where the names of this host's interfaces are. */
const INTERFACES = "/sys/class/net";

/** A command and the words that lead to it: `onlink interface add`. */
interface Place {
  path: string;
  node: CommandNode;
}

/** A command and all below it. */
function placesOf(node: CommandNode, above = ""): Place[] {
  const path = `${above}${node.name}`;
  return [{ path, node }, ...node.commands.flatMap((below) => placesOf(below, `${path} `))];
}

/** For bash 4 and later; needs nothing of the package bash-completion. */
export function bashCompletion(program: CommandNode): string {
  const places = placesOf(program);
  const below = places.slice(1).map(({ path }) => `"${path}"`);
  const values = places.flatMap(({ path, node }) =>
    node.options.flatMap(({ flags, value }) =>
      value === undefined
        ? []
        : [`    ${flags.map((flag) => `"${path} ${flag}"`).join(" | ")}) ${bashValue(value)}; return ;;`],
    ),
  );
  const words = places.map(({ path, node }) => {
    const own = [...node.commands.map(({ name }) => name), ...node.options.flatMap(({ flags }) => flags)];
    const [first] = node.arguments;
    const argument =
      first === undefined || first === "other"
        ? ""
        : `[[ $cur == -* ]] || { ${bashValue(first)}; return; }; `;
    return `    "${path}") ${argument}words="${own.join(" ")}" ;;`;
  });
  return `# bash completion for ${program.name}, made by: ${program.name} completion bash
_${program.name}() {
  local cur=\${COMP_WORDS[COMP_CWORD]} path=${program.name} words= i
  COMPREPLY=()
  for ((i = 1; i < COMP_CWORD; i++)); do
    case "$path \${COMP_WORDS[i]}" in
    ${below.join(" | ")}) path+=" \${COMP_WORDS[i]}" ;;
    esac
  done
  case "$path \${COMP_WORDS[COMP_CWORD - 1]}" in
${values.join("\n")}
  esac
  case "$path" in
${words.join("\n")}
  esac
  mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
}
_${program.name}_names() {
  compopt -o filenames 2>/dev/null
  mapfile -t COMPREPLY < <(compgen "$1" -- "$cur")
}
_${program.name}_words() {
  mapfile -t COMPREPLY < <(compgen -W "$1" -- "$cur")
}
complete -F _${program.name} ${program.name}
`;
}

function bashValue(value: ValueKind): string {
  if (value === "file") return "_onlink_names -f";
  if (value === "directory") return "_onlink_names -d";
  if (value === "interface") return `_onlink_words "$(cd ${INTERFACES} && echo *)"`;
  return value === "other" ? ":" : `_onlink_words "${value.choices.join(" ")}"`;
}

/** For zsh's own completion (compsys). */
export function zshCompletion(program: CommandNode): string {
  return `#compdef ${program.name}
# zsh completion for ${program.name}, made by: ${program.name} completion zsh
${placesOf(program).map(zshFunction).join("\n")}
__${program.name}_interfaces() {
  compadd -- ${INTERFACES}/*(:t)
}
if [ "$funcstack[1]" = "_${program.name}" ]; then _${program.name} "$@"; else compdef _${program.name} ${program.name}; fi
`;
}

function zshFunction({ path, node }: Place): string {
  const name = `_${path.replaceAll(" ", "_")}`;
  const specs = [
    ...node.options.flatMap(zshOption),
    ...node.arguments.map((value) => `'*:argument:${zshAction(value)}'`),
  ];
  if (node.commands.length === 0) return `${name}() {\n  _arguments ${specs.join(" ")}\n}`;
  const commands = node.commands.map((one) => `'${one.name}:${zshText(one.description)}'`);
  const cases = node.commands.map((one) => `      ${one.name}) ${name}_${one.name} ;;`);
  return `${name}() {
  local context state line
  typeset -A opt_args
  _arguments -C ${specs.join(" ")} '1:command:->command' '*::argument:->below'
  case $state in
  command)
    local -a commands=(${commands.join(" ")})
    _describe command commands
    ;;
  below)
    case $line[1] in
${cases.join("\n")}
    esac
    ;;
  esac
}`;
}

function zshOption({ flags, description, value }: OptionNode): string[] {
  const after = value === undefined ? "" : `:value:${zshAction(value)}`;
  const others = flags.length > 1 ? `(${flags.join(" ")})` : "";
  return flags.map((flag) => `'${others}${flag}[${zshText(description)}]${after}'`);
}

function zshAction(value: ValueKind): string {
  if (value === "file") return "_files";
  if (value === "directory") return "_files -/";
  if (value === "interface") return "__onlink_interfaces";
  return value === "other" ? " " : `(${value.choices.join(" ")})`;
}

/** Text within quotes and brackets. */
function zshText(text: string): string {
  return text.replaceAll(/[[\]:\\]/g, "\\$&").replaceAll("'", "'\\''");
}

/** For fish 3 and later. */
export function fishCompletion(program: CommandNode): string {
  const lines = placesOf(program).flatMap((place) => fishLines(program, place));
  return `# fish completion for ${program.name}, made by: ${program.name} completion fish
complete -c ${program.name} -f
${lines.join("\n")}
`;
}

function fishLines(program: CommandNode, { path, node }: Place): string[] {
  const begin = `complete -c ${program.name} -n ${fishText(fishCondition(path, node))}`;
  return [
    ...node.commands.map((one) => `${begin} -a ${one.name} -d ${fishText(one.description)}`),
    ...node.options.map(({ flags, description, value }) => {
      const names = flags.map((flag) =>
        flag.startsWith("--") ? `-l ${flag.slice(2)}` : `-s ${flag.slice(1)}`,
      );
      return `${begin} ${names.join(" ")}${value === undefined ? "" : ` ${value === "file" ? "-r" : "-x"} ${fishValue(value)}`} -d ${fishText(description)}`;
    }),
    ...node.arguments.filter((value) => value !== "other").map((value) => `${begin} ${fishValue(value)}`),
  ];
}

/** Holds where the words of the path were given, and none of the commands below. */
function fishCondition(path: string, node: CommandNode): string {
  const given = path
    .split(" ")
    .slice(1)
    .map((word) => `__fish_seen_subcommand_from ${word}`);
  const below = node.commands.map(({ name }) => name).join(" ");
  return (
    [...given, ...(below === "" ? [] : [`not __fish_seen_subcommand_from ${below}`])].join("; and ") || "true"
  );
}

function fishValue(value: ValueKind): string {
  if (value === "file") return "-F";
  if (value === "directory") return "-a '(__fish_complete_directories)'";
  if (value === "interface") return `-a '(command ls ${INTERFACES})'`;
  return value === "other" ? "" : `-a ${fishText(value.choices.join(" "))}`;
}

function fishText(text: string): string {
  return `'${text.replaceAll(/['\\]/g, "\\$&")}'`;
}
