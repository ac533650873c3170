"""`rbootimg completion`: a script for a shell that completes commands, options and file names."""

from __future__ import annotations

import argparse
from collections.abc import Mapping

from ..layout.params import FLASH_SIZES
from ..layout.presets import LAYOUT_PRESETS

DESCRIPTION = "Print a script that completes rbootimg's commands, options, files and layout presets in a shell."

EPILOG = """\
To install it for bash, with the package bash-completion:
  mkdir -p ~/.local/share/bash-completion/completions
  rbootimg completion bash \\
      > ~/.local/share/bash-completion/completions/rbootimg

For bash without that package, in ~/.bashrc:
  eval "$(rbootimg completion bash)"

For zsh, in a directory of $fpath that ~/.zshrc sets before compinit:
  rbootimg completion zsh > ~/.zfunc/_rbootimg

For fish:
  mkdir -p ~/.config/fish/completions
  rbootimg completion fish > ~/.config/fish/completions/rbootimg.fish"""

SHELLS = ("bash", "zsh", "fish")

_LAYOUTS = "_rbootimg_layout_files"  # shtab's bash script treats the results as file names because of this name
_NAMES = " ".join(LAYOUT_PRESETS)
_LAYOUT = {
    "bash": _LAYOUTS,
    "zsh": _LAYOUTS,
    "fish": f"{_NAMES} (__fish_complete_path (commandline -ct))",
    "preamble": {
        "bash": f'{_LAYOUTS}() {{\n  compgen -W "{_NAMES}" -- "$1"\n  compgen -f -- "$1"\n}}',
        "zsh": f"{_LAYOUTS}() {{\n  _alternative 'presets:preset:({_NAMES})' 'files:layout file:_files'\n}}",
    },
}
"""A layout file or a preset, as shtab describes it to each shell."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("shell", choices=SHELLS, help="the shell")


def run(options: argparse.Namespace) -> None:
    """Print the script."""
    import shtab  # for this command only

    parser = options.complete_parser()
    _complete_values(parser, {"file": shtab.FILE, "directory": shtab.DIRECTORY, "layout": _LAYOUT})
    print(shtab.complete(parser, options.shell))


def _complete_values(parser: argparse.ArgumentParser, completions: Mapping[str, object]) -> None:
    """Set the completion of each argument with a value. The commands get no description: shtab uses their summary."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                command.description = None
                _complete_values(command, completions)
        elif action.nargs != 0 and not action.choices:
            name = action.metavar if isinstance(action.metavar, str) else action.dest.upper()
            if name == "SIZE":
                action.choices = tuple(FLASH_SIZES)
            elif kind := value_kind(name):
                action.complete = completions[kind]  # type: ignore[attr-defined] # read by shtab
            action.metavar = name.replace(":", "\\:")  # zsh ends a name at a colon


def value_kind(metavar: str) -> str | None:
    """Return "file", "directory" or "layout" for the `metavar` of such an argument, else None."""
    name = metavar.rpartition("=")[2].strip("[]")
    if name == "LAYOUT":
        return "layout"
    if name in ("DIRECTORY", "WEBROOT"):
        return "directory"
    return "file" if name in ("FILE", "PATH") or name.endswith((".BIN", ".ELF", ".MAP", ".PUB")) else None
