"""Shell completion of the command `echoforge`: static scripts, so that a key press never starts Python."""

from __future__ import annotations

from collections.abc import Callable, Mapping

SHELLS = ("bash", "zsh", "fish")

_PATH = "PATH"  # a file or a folder
_VALUE = "VALUE"  # anything else
_SWITCH = ""  # no value
_CONFIG = "CONFIG"  # a configuration by name, or a path
_FORMATS = "camus echonet_dynamic store"
_CLUSTER = {
    "distributed": "auto on off",
    "coordinator": _VALUE,
    "processes": _VALUE,
    "process_id": _VALUE,
    "launch_timeout_s": _VALUE,
    "heartbeat_s": _VALUE,
}
_COMPILATION = {"compilation_cache": _PATH}
# Flags of each subcommand, and what each takes: one of the kinds above, or the choices.
FLAGS: dict[str, dict[str, str]] = {
    "train": {
        "config": _CONFIG,
        "workdir": _PATH,
        "profile": _VALUE,
        "take_over": _SWITCH,
        "print_config": _SWITCH,
        **_COMPILATION,
        **_CLUSTER,
    },
    "evaluate": {
        "workdir": _PATH,
        "split": "train validation test all",
        "protocol": "semi full",
        "data": _PATH,
        "format": _FORMATS,
        "split_scheme": _VALUE,
        "predictions": _PATH,
        "references": _PATH,
        "checkpoint": _PATH,
        "scales": _VALUE,
        "threshold": _VALUE,
        "against": _PATH,
        "out": _PATH,
        **_COMPILATION,
        **_CLUSTER,
    },
    "export": {
        "workdir": _PATH,
        "format": "safetensors orbax stablehlo",
        "dtype": "float32 float16",
        "frames": _VALUE,
        "threshold": _VALUE,
        "out": _PATH,
        "overwrite": _SWITCH,
        **_COMPILATION,
    },
    "doctor": {"split_scheme": _VALUE, "limit": _VALUE, "threads": _VALUE, "json": _PATH, "sheet": _PATH},
    "prepare": {
        "source": _PATH,
        "data_dir": _PATH,
        "workers": _VALUE,
        "overwrite": _SWITCH,
        "patients": _VALUE,
        "seed": _VALUE,
        "frames": _VALUE,
        "size": _VALUE,
    },
    "simulate": {
        "patients": _VALUE,
        "out": _PATH,
        "seed": _VALUE,
        "format": "camus echonet",
        "frames": _VALUE,
        "size": _VALUE,
        "processes": _VALUE,
    },
    "reproduce": {
        "scale": "small paper real real_small real_long",
        "config": _CONFIG,
        "config_echonet": _CONFIG,
        "set": _VALUE,
        "set_echonet": _VALUE,
        "print_config": _VALUE,
        "against": _VALUE,
        "against_echonet": _VALUE,
        "seeds": _VALUE,
        "workdir": _PATH,
        "results": _PATH,
        "rounds": _VALUE,
        "stream_frames": _VALUE,
        "batch_clips": _VALUE,
        "finished_only": _SWITCH,
        "dry_run": _SWITCH,
        "compilation_cache": _PATH,
    },
}


_BASH = """\
# Completion of echoforge in bash: source <(echoforge completion bash)
_echoforge_words() {{
    local word
    while IFS= read -r word; do COMPREPLY+=("$word"); done < <(compgen -W "$1" -- "$current")
}}
_echoforge_files() {{
    local file
    while IFS= read -r file; do COMPREPLY+=("$file"); done < <(compgen -f -- "$current")
    compopt -o filenames
}}
_echoforge() {{
    local current="${{COMP_WORDS[COMP_CWORD]}}" flag="${{COMP_WORDS[COMP_CWORD-1]}}"
    COMPREPLY=()
    if [ "$COMP_CWORD" -eq 1 ]; then
        _echoforge_words "{subcommands} --help --version"
        return
    fi
    if [ "$current" = "=" ]; then  # bash splits words at "="
        current=""
    elif [ "$flag" = "=" ]; then
        flag="${{COMP_WORDS[COMP_CWORD-2]}}"
    fi
    case "${{COMP_WORDS[1]}}$flag" in
{values}
    esac
    if [[ "$current" != -* && "${{COMP_WORDS[1]}}" != completion ]]; then
        _echoforge_files
        return
    fi
    case "${{COMP_WORDS[1]}}" in
{flags}
        completion) _echoforge_words "{shells}" ;;
    esac
    if [[ "${{COMPREPLY[0]-}}" == *= ]]; then compopt -o nospace; fi
}}
complete -F _echoforge echoforge"""


def completion_script(shell: str, summaries: Mapping[str, str]) -> str:
    """Writes the script that completes subcommands, flags and values.

    Args:
        shell: one of `SHELLS`.
        summaries: of each subcommand, by name.
    """
    from echoforge_jax.config.files import config_names  # here, because it imports what help does without

    return _SCRIPTS[shell](summaries, " ".join(config_names()))


def _bash(summaries: Mapping[str, str], configs: str) -> str:
    flags, values = [], []
    for subcommand, kinds in FLAGS.items():
        words = " ".join(f"--{name}{'=' if kind else ''}" for name, kind in kinds.items())
        flags.append(f'        {subcommand}) _echoforge_words "{words} --help" ;;')
        for name, kind in kinds.items():
            if kind == _CONFIG:
                values.append(
                    f'        {subcommand}--{name}) _echoforge_words "{configs}"; _echoforge_files; return ;;'
                )
            elif kind == _PATH:
                values.append(f"        {subcommand}--{name}) _echoforge_files; return ;;")
            elif kind not in (_VALUE, _SWITCH):
                values.append(f'        {subcommand}--{name}) _echoforge_words "{kind}"; return ;;')
    return _BASH.format(
        subcommands=" ".join([*summaries, "completion"]),
        values="\n".join(values),
        flags="\n".join(flags),
        shells=" ".join(SHELLS),
    )


def _zsh(summaries: Mapping[str, str], configs: str) -> str:
    def flag(name: str, kind: str) -> str:
        if kind == _SWITCH:
            return f"'--{name}'"
        actions = {_PATH: "_files", _VALUE: "", _CONFIG: "_echoforge_config"}
        return f"'*--{name}=:{name}:{actions.get(kind, f'({kind})')}'"

    cases = [
        f"        {name}) _arguments '--help' {' '.join(flag(*each) for each in flags.items())} '*:path:_files' ;;"
        for name, flags in FLAGS.items()
    ]
    described = " ".join(f"'{name}:{summary}'" for name, summary in summaries.items())
    return "\n".join(
        [
            "#compdef echoforge",
            "# Completion of echoforge in zsh: source <(echoforge completion zsh), after compinit",
            f"_echoforge_config() {{ _alternative 'configs:configuration:({configs})' 'files:file:_files'; }}",
            "_echoforge() {",
            "    if (( CURRENT == 2 )); then",
            f"        local -a subcommands=({described} 'completion:Prints a completion script.')",
            "        _describe subcommand subcommands",
            "        return",
            "    fi",
            "    local subcommand=$words[2]",
            "    shift words; (( CURRENT-- ))",
            "    case $subcommand in",
            *cases,
            f"        completion) _arguments '1:shell:({' '.join(SHELLS)})' ;;",
            "    esac",
            "}",
            "compdef _echoforge echoforge",
        ]
    )


def _fish(summaries: Mapping[str, str], configs: str) -> str:
    lines = ["# Completion of echoforge in fish: echoforge completion fish | source", "complete -c echoforge -f"]
    for name, summary in {**summaries, "completion": "Prints a completion script."}.items():
        lines.append(f"complete -c echoforge -n __fish_use_subcommand -a {name} -d '{summary}'")
    for subcommand, flags in FLAGS.items():
        for name, kind in flags.items():
            takes = {_SWITCH: "", _VALUE: " -x", _PATH: " -r -F", _CONFIG: f" -r -F -a '{configs}'"}.get(
                kind, f" -x -a '{kind}'"
            )
            lines.append(f"complete -c echoforge -n '__fish_seen_subcommand_from {subcommand}' -l {name}{takes}")
    lines.append(f"complete -c echoforge -n '__fish_seen_subcommand_from completion' -a '{' '.join(SHELLS)}'")
    return "\n".join(lines)


_SCRIPTS: dict[str, Callable[[Mapping[str, str], str], str]] = {"bash": _bash, "zsh": _zsh, "fish": _fish}
