/** Completion for bash and zsh, written from the table of commands: names of commands, options, and their choices. */
import type { CommandSpec, OptionSpec } from './command.js';

export const SHELLS = ['bash', 'zsh'] as const;

/** Of an option its name as it is typed: `--where`. */
function nameOf({ flags }: OptionSpec): string {
  return flags.split(' ', 1)[0] as string;
}

export function completionFor(shell: string, commands: readonly CommandSpec[], global: readonly OptionSpec[]): string {
  return shell === 'zsh' ? zsh(commands, global) : bash(commands, global);
}

function bash(commands: readonly CommandSpec[], global: readonly OptionSpec[]): string {
  const firsts = [...new Set(commands.map(({ name }) => name.split(' ', 1)[0] as string))];
  const cases = commands.map((command) => {
    const options = [...(command.options ?? []), ...global].map(nameOf).join(' ');
    return `    "${command.name}") words='${options}' ;;`;
  });
  const groups = firsts
    .map((first) => ({
      first,
      rest: commands.filter(({ name }) => name.startsWith(`${first} `)).map(({ name }) => name.slice(first.length + 1)),
    }))
    .filter(({ rest }) => rest.length > 0);
  const all = [...commands.flatMap(({ options = [] }) => options), ...global];
  const withValue = new Set(all.filter(({ flags }) => flags.includes('<')).map(nameOf));
  const choices = all
    .filter(({ choices: list }) => list)
    .map(
      (option) =>
        `    ${nameOf(option)}) COMPREPLY=($(compgen -W '${option.choices?.join(' ')}' -- "$current")); return ;;`,
    );
  return `# bash completion for stargus: source <(stargus completion bash)
_stargus() {
  local current=\${COMP_WORDS[COMP_CWORD]} previous=\${COMP_WORDS[COMP_CWORD-1]} command='' words='' word isValue=''
  local -a said=()
  case "$previous" in
${[...new Set(choices)].join('\n')}
    --cache|--key) COMPREPLY=($(compgen -f -- "$current")); return ;;
  esac
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    if [[ -n $isValue ]]; then isValue=''; continue; fi
    case "$word" in
      ${[...withValue].join('|')}) isValue=1 ;;
      -*) ;;
      *) said+=("$word") ;;
    esac
  done
  command=\${said[0]-}
  case "$command" in
${groups
  .map(
    ({ first, rest }) =>
      `    ${first}) if (( \${#said[@]} == 1 )); then COMPREPLY=($(compgen -W '${rest.join(' ')}' -- "$current")); return; fi; command+=" \${said[1]}" ;;`,
  )
  .join('\n')}
  esac
  case "$command" in
    '') words='${firsts.join(' ')} ${global.map(nameOf).join(' ')}' ;;
${cases.join('\n')}
  esac
  if [[ $current == -* || -z $command ]]; then COMPREPLY=($(compgen -W "$words" -- "$current")); else COMPREPLY=($(compgen -f -- "$current")); fi
}
complete -F _stargus stargus
`;
}

function zsh(commands: readonly CommandSpec[], global: readonly OptionSpec[]): string {
  const quoted = (text: string) =>
    text
      .replaceAll(/\s+/g, ' ')
      .replaceAll("'", "'\\''")
      .replaceAll(/([:[\]])/g, '\\$1');
  const optionsOf = (options: readonly OptionSpec[]) =>
    options
      .map((option) => {
        const value = / <([^>]+)>/.exec(option.flags)?.[1];
        const action = option.choices ? `:${value}:(${option.choices.join(' ')})` : value ? `:${value}:_files` : '';
        return `'${nameOf(option)}[${quoted(option.about)}]${action}'`;
      })
      .join(' ');
  const firsts = [...new Set(commands.map(({ name }) => name.split(' ', 1)[0] as string))];
  const described = firsts.map((first) => {
    const command = commands.find(({ name }) => name === first);
    return `'${first}:${quoted(command?.about.split('.', 1)[0]?.slice(0, 80) ?? `${first} …`)}'`;
  });
  const cases = firsts.map((first) => {
    const own = commands.filter(({ name }) => name === first || name.startsWith(`${first} `));
    const rest = own.filter(({ name }) => name !== first).map(({ name }) => name.slice(first.length + 1));
    const options = optionsOf([...own.flatMap((command) => command.options ?? []), ...global]);
    return `    ${first}) _arguments ${options} ${rest.length > 0 ? `'1:command:(${rest.join(' ')})' ` : ''}'*:word:_files' ;;`;
  });
  return `#compdef stargus
# zsh completion for stargus: stargus completion zsh > "\${fpath[1]}/_stargus"
_stargus() {
  local -a commands
  commands=(${described.join(' ')})
  if (( CURRENT == 2 )); then
    _describe 'command' commands
    return
  fi
  local command=$words[2]
  shift words
  (( CURRENT-- ))
  case $command in
${cases.join('\n')}
  esac
}
# Where zsh has taken this file for the function itself, it is asked to complete at this very moment.
if [[ \${funcstack[1]} == _stargus ]]; then _stargus "$@"; else compdef _stargus stargus; fi
`;
}
