"""RbootLinkerScript and the linking of programs: scripts, what they include, and what ld says."""

from __future__ import annotations

import functools
import os
import re
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import SCons.Action
import SCons.Builder
import SCons.Errors
import SCons.Node
import SCons.Node.FS
import SCons.Platform.posix
import SCons.Scanner
import SCons.Scanner.Prog
import SCons.Script
import SCons.Subst

from ..errors import ElfError, SettingError, error_subject
from ..fileio import write_atomic
from ..layout.memory import DRAM, IRAM
from ..layout.model import Slot
from ..rom import ldscript
from .actions import OWN_SCANNER, action, build, nodes, own_file, rebuild_if_altered
from .compiler import COMMANDS, where
from .variables import expand, for_call, is_on, is_set, literal, slots_of

BASE_SCRIPT = Path(__file__).parents[1] / "ld" / "baremetal.ld"
"""The linker script for applications without an SDK."""


@functools.lru_cache
def _script_builder() -> Any:
    """The step of RbootLinkerScript: a base linker script -> the one for the slot $_RBOOT_SCRIPT_SLOT."""
    return SCons.Builder.Builder(
        name="_RbootLinkerScript",
        action=action(_write_script, "$RBOOTLDSCRIPTCOMSTR", "_RBOOT_SCRIPT_SLOT"),
        target_scanner=OWN_SCANNER,
        suffix=".ld",
        single_source=True,
    )


@functools.lru_cache
def link_builder() -> Any:
    """The link of RbootProgram, from objects: each target with its script of $RBOOT_LDSCRIPT."""
    return SCons.Builder.Builder(
        name="_RbootLink",
        action=_Link("$RBOOTLINKCOM", cmdstr="$RBOOTLINKCOMSTR"),
        emitter=_with_script,
        target_scanner=SCons.Scanner.ScannerBase(
            _scan_program, "RbootProgram", path_function=SCons.Scanner.FindPathDirs("LIBPATH")
        ),
        suffix=".elf",
    )


def rboot_linker_script(env: Any, target: Any, source: Any, **overrides: object) -> Any:
    """The linker script `target` for $RBOOT_SLOT, from the base script `source`."""
    env = for_call(env, overrides)
    if target is None:
        raise SettingError("RbootLinkerScript has no target; name the script")
    [base, *more] = nodes(env, str(target), source)
    if more or len(env.Flatten([target])) != 1:
        raise SettingError("RbootLinkerScript makes one script from one", subject=target)
    with error_subject(target):
        [slot] = slots_of(env, 1)
    if slot is None:
        raise SettingError("RBOOT_SLOT is not set; give the slot's flash address", subject=target)
    return script_for_slot(env, target, base, slot)


def script_for_slot(env: Any, target: Any, base: Any, slot: Slot) -> Any:
    """The node of the linker script `target` for `slot`."""
    return build(env, _script_builder(), target, base, _RBOOT_SCRIPT_SLOT=slot)


def base_scripts(env: Any) -> list[Any]:
    """The nodes of $RBOOT_LDSCRIPT, however the user names them. Raises SettingError."""
    if not is_set(env, "RBOOT_LDSCRIPT"):
        return [own_file(env, BASE_SCRIPT)]
    scripts = env.Flatten([env["RBOOT_LDSCRIPT"]])
    scripts = [literal(expand(env, "RBOOT_LDSCRIPT", item)) if isinstance(item, str) else item for item in scripts]
    return nodes(env, "RBOOT_LDSCRIPT", scripts)


def _write_script(target: Any, source: Any, env: Any) -> None:
    script = ldscript.slot_linker_script(source[0].get_contents(), env["_RBOOT_SCRIPT_SLOT"])
    write_atomic(Path(target[0].get_abspath()), script)


def _with_script(target: Any, source: Any, env: Any) -> tuple[Any, Any]:
    """Remembers each program's linker script, which is no source of the command.

    Its INCLUDEs are looked for beside it, or beside the base script that it was made from.
    """
    scripts = base_scripts(env)
    if len(scripts) != len(target):
        raise SettingError(
            f"{len(scripts)} linker scripts for {len(target)} programs; give one for each", subject=target[0]
        )
    if isinstance(env["RBOOTLINKCOM"], (list, tuple)):
        raise SettingError("RBOOTLINKCOM is a list; write one command as a string, several with && between")
    maps = []
    with_maps = is_on(env, "RBOOT_MAP")
    for node, script in zip(target, scripts):
        node.attributes.rboot_ldscript = script
        node.attributes.rboot_ldfolder = (script.sources[0] if script.has_builder() else script).dir
        if with_maps:
            node.attributes.rboot_map = node.dir.File(f"{os.path.splitext(node.name)[0]}.map")
            maps.append(node.attributes.rboot_map)
            env.Clean(node, node.attributes.rboot_map)
    return [*target, *maps], source


def programs(target: list[Any]) -> list[Any]:
    """The ELFs among what a link makes, which may make map files too."""
    return [node for node in target if hasattr(node.attributes, "rboot_ldscript")]


def map_flags(target: Any, source: Any, env: Any, for_signature: bool) -> list[Any]:
    """The value of $_RBOOT_MAP: not with -Wl, which a comma in a name would end."""
    file = getattr(target[0].attributes, "rboot_map", None)
    return ["-Xlinker", SCons.Subst.Literal(f"-Map={file}")] if file else []


def script_flags(target: Any, source: Any, env: Any, for_signature: bool) -> list[Any]:
    """The value of $_RBOOT_LDSCRIPT: a function, as an expression in the command would be compiled each time."""
    node = target[0].attributes
    folders = (SCons.Subst.Literal(f"-L{folder}") for folder in node.rboot_ldfolder.get_all_rdirs())
    script = node.rboot_ldscript
    base = script.sources[0] if script.has_builder() else script
    # Ours names all that can be; an SDK's leaves out what is not for the chip.
    is_ours = base.name == BASE_SCRIPT.name and base.rfile().get_abspath() == str(BASE_SCRIPT)
    strict = ["-Wl,--orphan-handling=error"] if is_ours else []
    return [*folders, *strict, "-T", SCons.Subst.Literal(str(script.rfile()))]


def _scan_program(node: Any, env: Any, path: Any) -> list[Any]:
    """What a program depends on beside its objects: its script, those that this includes, and libraries.

    A script that is still to be generated is scanned again when it is there: SCons sees to that.
    """
    rebuild_if_altered(node)
    if not programs([node]):
        return []  # SCons takes together what one step makes
    scripts = [node.attributes.rboot_ldscript]
    # ld looks in its working folder, then in the -L folders.
    folders = (env.fs.Top, *flags_folders(env), *path, node.attributes.rboot_ldfolder)
    for script in scripts:
        names = ldscript.includes(script.get_contents()) if script.exists() else ()
        found = (SCons.Node.FS.find_file(name, folders) for name in names)
        scripts += [included for included in found if included and included not in scripts]
    return [*scripts, *SCons.Scanner.Prog.scan(node, env, path)]


def flags_folders(env: Any) -> list[Any]:
    """The folders of the -L options among the user's own flags."""
    flags = [*env.Flatten([env.get("LINKFLAGS", "")]), *env.Flatten([env.get("RBOOT_LINKFLAGS", "")])]
    if "-L" not in str(flags):
        return []
    words = [str(word) for word in env.subst_list("$RBOOT_LINKFLAGS $LINKFLAGS")[0]]
    pairs = zip(words, [*words[1:], ""])
    names = [following if word == "-L" else word[2:] for word, following in pairs if word.startswith("-L")]
    return [env.Dir(f"#{name}" if not os.path.isabs(name) else name) for name in names if name]


class _Link(SCons.Action.CommandAction):  # type: ignore[misc]
    """The link command, run once for each target: the same objects, another linker script.

    One action for all slots, as SCons's time for a build with nothing to do goes with the number of
    actions. With -j they are linked side by side; what is printed is the same. Where ld says that a memory region
    overflowed, so does the error, in our words. That ld does not find the entry is an error too, of which it only
    warns.
    """

    def __call__(
        self, target: Any, source: Any, env: Any, *arguments: Any, executor: Any = None, **options: Any
    ) -> Any:
        if executor:
            target, source = executor.get_all_targets(), executor.get_all_sources()
        linked = programs(target)
        jobs = SCons.Script.GetOption("num_jobs")
        # Not for -n, nor with options, which may mean other things than to run it; a user's function may rely on order.
        plain = SCons.Action.execute_actions and not (arguments or options or _has_own_spawn(env))
        if jobs > 1 and len(linked) > 1 and plain:
            for node in linked:
                node.attributes.rboot_linking = _Linking(_room(jobs), self._run, [node], source, env)
        try:
            for node in linked:
                if error := super().__call__([node], source, env, *arguments, **options):
                    return error
            return 0
        finally:
            _drop(linked)

    def execute(self, target: Any, source: Any, env: Any, executor: Any = None) -> Any:
        if _has_own_spawn(env):
            return super().execute(target, source, env, executor)
        linking = _take(target[0])
        result, text = linking.result() if linking else self._run(target, source, env, executor)
        sys.stderr.write(text)
        missing = re.search(r"cannot find entry symbol (\S+);", text)
        if missing and not result:
            program = Path(target[0].get_abspath())
            why = _no_entry(missing[1], program)
            program.unlink(missing_ok=True)  # its entry is whatever the code begins with
            return SCons.Errors.BuildError(target[0], why, status=1, exitstatus=2, filename=str(target[0]))
        if result:
            result.filename = str(target[0])  # SCons names the first of the targets, whichever failed
            overflows = re.findall(r"region [`']?(\w+)'? overflowed by (\d+) bytes", text)
            slot = getattr(target[0].attributes, "rboot_slot", None)
            result.errstr = (
                "; ".join(_overflow(slot, region, int(excess)) for region, excess in overflows) or result.errstr
            )
        return result

    def _run(self, target: Any, source: Any, env: Any, executor: Any = None) -> tuple[Any, str]:
        """Link one program: SCons's result, and what the linker said."""
        with tempfile.TemporaryFile() as messages:

            def spawn(shell: str, escape: Any, command: str, arguments: list[str], environment: Any) -> Any:
                english = {**environment, "LC_ALL": "C"}  # for the words that are looked for below
                return env["PSPAWN"](shell, escape, command, arguments, english, None, messages)

            # A command that is too long for the system goes into a file; only now, as to expand that takes its time.
            command = env["RBOOTLINKCOM"]
            commands = (
                {}
                if not isinstance(command, str) or "TEMPFILE" in command
                else {"RBOOTLINKCOM": "${TEMPFILE(_RBOOT_LINKCOM)}"}
            )
            running = env.Override({"SPAWN": spawn, "_RBOOT_LINKCOM": command, **commands})
            result = super().execute(target, source, running, executor)
            messages.seek(0)
            return result, messages.read().decode(errors="replace")

    def get_presig(self, target: Any, source: Any, env: Any, executor: Any = None) -> Any:
        if executor:
            target, source = executor.get_all_targets(), executor.get_all_sources()
        scripts = " ".join(str(node.attributes.rboot_ldscript) for node in programs(target))
        return super().get_presig(target[:1], source, env) + scripts

    def get_implicit_deps(self, target: Any, source: Any, env: Any, executor: Any = None) -> Any:
        # What the base class does, without expanding the rest of the command for it.
        name = env["CC"] if env["LINK"] == COMMANDS["LINK"] else "$LINK"
        if not isinstance(name, str) or not name.replace("-", "").isalnum():
            words = env.subst_list("$LINK", SCons.Subst.SUBST_SIG)[0]
            name = str(words[0]) if words else ""
        linker = name and where(name, str(env["ENV"].get("PATH", "")))
        return [env.fs.File(linker)] if linker else []


def _has_own_spawn(env: Any) -> bool:
    """Whether the user has a function of his own that runs commands."""
    return env["SPAWN"] is not SCons.Platform.posix.subprocess_spawn


@functools.lru_cache
def _room(jobs: int) -> threading.Semaphore:
    """What the links of all steps share: there are no more of them at once than jobs."""
    return threading.Semaphore(jobs)


class _Linking(threading.Thread):
    """A link that has begun. Not of concurrent.futures, which takes as long to load as the link of a small program."""

    def __init__(self, room: threading.Semaphore, link: Callable[..., tuple[Any, str]], *arguments: Any) -> None:
        super().__init__()
        self._room, self._link, self._arguments = room, link, arguments
        self._result: tuple[Any, str] | BaseException | None = None
        self.start()

    def run(self) -> None:
        with self._room:
            try:
                self._result = self._link(*self._arguments)
            except BaseException as error:
                self._result = error

    def result(self) -> tuple[Any, str]:
        """What it came to, once it has ended. Raises what it raised."""
        self.join()
        if isinstance(self._result, tuple):
            return self._result
        raise self._result or AssertionError


def _take(node: Any) -> _Linking | None:
    """The link of the program that has begun, if any, for the one who waits for it."""
    linking: _Linking | None = getattr(node.attributes, "rboot_linking", None)
    node.attributes.rboot_linking = None
    return linking


def _drop(linked: list[Any]) -> None:
    """Undo the links that have begun and that nobody waits for, as one before them failed."""
    for node in linked:
        if linking := _take(node):
            linking.join()
            for made in (node, getattr(node.attributes, "rboot_map", None)):
                if made:
                    Path(made.get_abspath()).unlink(missing_ok=True)


def _no_entry(name: str, program: Path) -> str:
    """Why the entry `name` was not found by ld, which has linked the `program` all the same."""
    from ..rom import elf  # not for every build
    from ..rom.entry import entry_hint

    try:
        hint = entry_hint(name, elf.elf_symbols(program.read_bytes()))
    except (OSError, ElfError):
        hint = ""
    return f"no entry point: ld finds no function {name}, which ENTRY() in the linker script names; " + (
        hint or 'check the spelling; a C++ function needs extern "C", and it must not be static'
    )


def _overflow(slot: Slot | None, region: str, excess: int) -> str:
    if region == ldscript.IROM_REGION:
        where = slot.label if slot else f"region {region}"
        return f"the flash code is {excess:,} bytes too large for {where}; make it smaller or the slot larger"
    ram = {"iram1_0_seg": IRAM, "dram0_0_seg": DRAM}.get(region)
    if ram is None:
        return f"region {region} is {excess:,} bytes too small"
    move = "move code to the flash" if ram is IRAM else "move constants to the flash or shrink buffers"
    return f"the {ram.name} sections are {excess:,} bytes larger than the {ram.size:,} bytes there are; {move}"
