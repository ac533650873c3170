"""RbootLinkerScript and the link of programs: scripts, their includes, and the errors of ld."""

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
from ..text import counted
from ..views.messages import error_text
from .actions import OWN_SCANNER, action, build, nodes, package_file, rebuild_if_altered
from .compiler import COMMANDS, find_program
from .variables import call_environment, escape_dollars, expand, get_bool, is_set, slots_of

BASE_SCRIPT = Path(__file__).parents[1] / "ld" / "baremetal.ld"
"""The linker script for applications without an SDK."""


@functools.lru_cache
def _script_builder() -> Any:
    """The builder of RbootLinkerScript: base linker script -> script for the slot $_RBOOT_SCRIPT_SLOT."""
    return SCons.Builder.Builder(
        name="_RbootLinkerScript",
        action=action(_write_script, "$RBOOTLDSCRIPTCOMSTR", "_RBOOT_SCRIPT_SLOT"),
        target_scanner=OWN_SCANNER,
        suffix=".ld",
        single_source=True,
    )


@functools.lru_cache
def link_builder() -> Any:
    """The builder of all links: objects -> an ELF for each target, with its script of $RBOOT_LDSCRIPT."""
    return SCons.Builder.Builder(
        name="_RbootLink",
        action=_LinkAction("$RBOOTLINKCOM", cmdstr="$RBOOTLINKCOMSTR"),
        emitter=_add_script,
        target_scanner=SCons.Scanner.ScannerBase(
            _scan_program, "RbootProgram", path_function=SCons.Scanner.FindPathDirs("LIBPATH")
        ),
        suffix=".elf",
    )


def rboot_linker_script(env: Any, target: Any, source: Any, **overrides: object) -> Any:
    """Write the linker script `target` for $RBOOT_SLOT, from the base script `source`. Raises SettingError."""
    env = call_environment(env, overrides)
    if target is None:
        raise SettingError("expected the name of the script as target", subject="RbootLinkerScript")
    [base, *more] = nodes(env, str(target), source)
    if more or len(env.Flatten([target])) != 1:
        raise SettingError("expected one target and one base script", subject=f"RbootLinkerScript of {target}")
    with error_subject(target):
        [slot] = slots_of(env, 1)
    if slot is None:
        raise SettingError("expected RBOOT_SLOT, the flash address of the slot", subject=target)
    return script_for_slot(env, target, base, slot)


def script_for_slot(env: Any, target: Any, base: Any, slot: Slot) -> Any:
    """The node of the linker script `target` for `slot`."""
    return build(env, _script_builder(), target, base, _RBOOT_SCRIPT_SLOT=slot)


def base_scripts(env: Any) -> list[Any]:
    """The nodes of $RBOOT_LDSCRIPT, else of our own script. Raises SettingError."""
    if not is_set(env, "RBOOT_LDSCRIPT"):
        return [package_file(env, BASE_SCRIPT)]
    scripts = env.Flatten([env["RBOOT_LDSCRIPT"]])
    scripts = [
        escape_dollars(expand(env, "RBOOT_LDSCRIPT", item)) if isinstance(item, str) else item for item in scripts
    ]
    return nodes(env, "RBOOT_LDSCRIPT", scripts)


def _write_script(target: Any, source: Any, env: Any) -> None:
    script = ldscript.slot_linker_script(source[0].get_contents(), env["_RBOOT_SCRIPT_SLOT"])
    write_atomic(Path(target[0].get_abspath()), script)


def _add_script(target: Any, source: Any, env: Any) -> tuple[Any, Any]:
    """Emitter: note each program's linker script, which is not a source of the command, and add the map files.

    The script's INCLUDEs are searched beside it, or beside the base script that it is made from.
    """
    scripts = base_scripts(env)
    if len(scripts) != len(target):
        raise SettingError(
            f"expected {len(target)} linker scripts, one for each program, got {len(scripts)}", subject=target[0]
        )
    if isinstance(env["RBOOTLINKCOM"], (list, tuple)):
        raise SettingError("expected a string, got a list; join several commands with &&", subject="RBOOTLINKCOM")
    maps = []
    with_maps = get_bool(env, "RBOOT_MAP")
    for node, script in zip(target, scripts):
        node.attributes.rboot_ldscript = script
        node.attributes.rboot_lddirectory = (script.sources[0] if script.has_builder() else script).dir
        if with_maps:
            node.attributes.rboot_map = node.dir.File(f"{os.path.splitext(node.name)[0]}.map")
            maps.append(node.attributes.rboot_map)
            env.Clean(node, node.attributes.rboot_map)
    return [*target, *maps], source


def programs(target: list[Any]) -> list[Any]:
    """The ELFs among the targets of a link, which may include map files."""
    return [node for node in target if hasattr(node.attributes, "rboot_ldscript")]


def map_flags(target: Any, source: Any, env: Any, for_signature: bool) -> list[Any]:
    """The value of $_RBOOT_MAP. With -Xlinker, as -Wl splits a name at a comma."""
    file = getattr(target[0].attributes, "rboot_map", None)
    return ["-Xlinker", SCons.Subst.Literal(f"-Map={file}")] if file else []


def script_flags(target: Any, source: Any, env: Any, for_signature: bool) -> list[Any]:
    """The value of $_RBOOT_LDSCRIPT. A function, as SCons would compile an expression for each command."""
    node = target[0].attributes
    lib_dirs = (SCons.Subst.Literal(f"-L{directory}") for directory in node.rboot_lddirectory.get_all_rdirs())
    script = node.rboot_ldscript
    base = script.sources[0] if script.has_builder() else script
    # Only our script lists all sections: an SDK's has none for debug and other sections that are not loaded.
    is_ours = base.name == BASE_SCRIPT.name and base.rfile().get_abspath() == str(BASE_SCRIPT)
    strict = ["-Wl,--orphan-handling=error"] if is_ours else []
    return [*lib_dirs, *strict, "-T", SCons.Subst.Literal(str(script.rfile()))]


def _scan_program(node: Any, env: Any, path: Any) -> list[Any]:
    """The files that a program depends on besides its objects: its script, included scripts, libraries.

    SCons scans a generated script again after it is built.
    """
    rebuild_if_altered(node)
    if not programs([node]):
        return []  # a map file: SCons combines the dependencies of all targets of a step
    scripts = [node.attributes.rboot_ldscript]
    # ld searches its working directory, then the -L directories.
    directories = (env.fs.Top, *linkflags_dirs(env), *path, node.attributes.rboot_lddirectory)
    for script in scripts:
        names = ldscript.includes(script.get_contents()) if script.exists() else ()
        found = (SCons.Node.FS.find_file(name, directories) for name in names)
        scripts += [included for included in found if included and included not in scripts]
    return [*scripts, *SCons.Scanner.Prog.scan(node, env, path)]


def linkflags_dirs(env: Any) -> list[Any]:
    """The directories of -L options in the user's flags."""
    flags = [*env.Flatten([env.get("LINKFLAGS", "")]), *env.Flatten([env.get("RBOOT_LINKFLAGS", "")])]
    if "-L" not in str(flags):
        return []
    words = [str(word) for word in env.subst_list("$RBOOT_LINKFLAGS $LINKFLAGS")[0]]
    pairs = zip(words, [*words[1:], ""])
    names = [following if word == "-L" else word[2:] for word, following in pairs if word.startswith("-L")]
    return [env.Dir(f"#{name}" if not os.path.isabs(name) else name) for name in names if name]


class _LinkAction(SCons.Action.CommandAction):  # type: ignore[misc]
    """The link command, run once for each target: the same objects with another linker script.

    One action links for all slots, as SCons's time for a build with nothing to do grows with the number of actions.
    With -j the links run in parallel; the output is the same, in the same order. ld's message that a memory region
    overflows is reported in our words, and its warning that there is no entry point is an error.
    """

    def __call__(
        self, target: Any, source: Any, env: Any, *arguments: Any, executor: Any = None, **options: Any
    ) -> Any:
        if executor:
            target, source = executor.get_all_targets(), executor.get_all_sources()
        linked = programs(target)
        jobs = SCons.Script.GetOption("num_jobs")
        # Not with -n, nor with options, which may ask for the command only. A user's SPAWN may rely on the order.
        runs = SCons.Action.execute_actions and not (arguments or options or _has_own_spawn(env))
        if jobs > 1 and len(linked) > 1 and runs:
            threads: list[_LinkThread] = []
            for node in linked:
                link = functools.partial(self._run, [node], source, env)
                node.attributes.rboot_link = _LinkThread(node, _job_limit(jobs), link, tuple(threads))
                threads.append(node.attributes.rboot_link)
            for thread in threads:
                thread.start()
        try:
            for node in linked:
                if error := super().__call__([node], source, env, *arguments, **options):
                    return error
            return 0
        finally:
            _discard_links(linked)

    def execute(self, target: Any, source: Any, env: Any, executor: Any = None) -> Any:
        """Link one program, or wait for its running link. SCons calls this after it has printed the command."""
        if _has_own_spawn(env):
            return super().execute(target, source, env, executor)
        [node] = target
        link = _pop_link(node)
        result, text = link.wait() if link else self._run(target, source, env, executor)
        sys.stderr.write(text)
        missing = re.search(r"cannot find entry symbol (\S+);", text)
        if missing and not result:  # only a warning of ld, which uses the start of the code instead
            reason = _describe_missing_entry(missing[1], Path(node.get_abspath()))
            result = SCons.Errors.BuildError(node, error_text(reason), status=1, exitstatus=2, filename=str(node))
        elif result:
            result.filename = str(node)  # SCons names the first target, whichever failed
            overflows = re.findall(r"region [`']?(\w+)'? overflowed by (\d+) bytes", text)
            slot = getattr(node.attributes, "rboot_slot", None)
            errors = [_describe_overflow(slot, region, int(excess)) for region, excess in overflows]
            result.errstr = error_text("; ".join(errors)) or result.errstr
        if result:
            _remove_outputs(node)  # ld leaves an incomplete file if it is killed, e.g. by Ctrl-C
        return result

    def _run(self, target: Any, source: Any, env: Any, executor: Any = None) -> tuple[Any, str]:
        """Link one program. Returns SCons's result, a BuildError or 0, and the linker's messages."""
        with tempfile.TemporaryFile() as messages:

            def spawn(shell: str, escape: Any, command: str, arguments: list[str], environment: Any) -> Any:
                english = {**environment, "LC_ALL": "C"}  # for the messages that execute() searches for
                return env["PSPAWN"](shell, escape, command, arguments, english, None, messages)

            # TEMPFILE passes a command that is too long for the system in a file. Not before: its expansion is slow.
            command = env["RBOOTLINKCOM"]
            commands = (
                {}
                if not isinstance(command, str) or "TEMPFILE" in command
                else {"RBOOTLINKCOM": "${TEMPFILE(_RBOOT_LINKCOM, '$RBOOTLINKCOMSTR')}"}
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
        # As the base class, without expanding the rest of the command.
        name = env["CC"] if env["LINK"] == COMMANDS["LINK"] else "$LINK"
        if not isinstance(name, str) or not name.replace("-", "").isalnum():
            words = env.subst_list("$LINK", SCons.Subst.SUBST_SIG)[0]
            name = str(words[0]) if words else ""
        linker = name and find_program(name, str(env["ENV"].get("PATH", "")))
        return [env.fs.File(linker)] if linker else []


def _has_own_spawn(env: Any) -> bool:
    """Whether the user has replaced SCons's function that runs commands."""
    return env["SPAWN"] is not SCons.Platform.posix.subprocess_spawn


@functools.lru_cache
def _job_limit(jobs: int) -> threading.Semaphore:
    """The limit for the links of all steps together: as many in parallel as jobs."""
    return threading.Semaphore(jobs)


class _LinkThread(threading.Thread):
    """A link in the background. Not by concurrent.futures: to import it takes as long as a small link.

    It is not started if one of the `earlier` links has failed, which ends the step, or after Ctrl-C.
    """

    def __init__(
        self,
        node: Any,
        limit: threading.Semaphore,
        link: Callable[[], tuple[Any, str]],
        earlier: tuple[_LinkThread, ...],
    ) -> None:
        super().__init__()
        self._node, self._limit, self._link, self._earlier = node, limit, link, earlier
        self._cancelled = False
        self._result: tuple[Any, str] | BaseException | None = None

    def run(self) -> None:
        from .interrupt import is_interrupted  # not for every build

        with self._limit:
            if self._cancelled or is_interrupted() or any(link.has_failed() for link in self._earlier):
                self._result = SCons.Errors.BuildError(self._node, "not linked"), ""
                return
            try:
                self._result = self._link()
            except BaseException as error:
                self._result = error

    def has_failed(self) -> bool:
        """Whether the link has ended with an error."""
        return self._result is not None and not (isinstance(self._result, tuple) and not self._result[0])

    def wait(self) -> tuple[Any, str]:
        """Wait for the link. Returns what it returned, or raises what it raised."""
        self.join()
        if isinstance(self._result, tuple):
            return self._result
        raise self._result or AssertionError

    def cancel(self) -> None:
        """Do not start the link if it is still waiting for a job; else wait for its end."""
        self._cancelled = True
        self.join()


def _pop_link(node: Any) -> _LinkThread | None:
    """The program's link in the background, if any, which the caller must wait for."""
    link: _LinkThread | None = getattr(node.attributes, "rboot_link", None)
    node.attributes.rboot_link = None
    return link


def _discard_links(linked: list[Any]) -> None:
    """Cancel the links that nobody has waited for, as an earlier one failed, and remove their outputs."""
    for node in linked:
        if link := _pop_link(node):
            link.cancel()
            _remove_outputs(node)


def _remove_outputs(node: Any) -> None:
    """Remove a program's ELF and map file."""
    for output in (node, getattr(node.attributes, "rboot_map", None)):
        if output:
            Path(output.get_abspath()).unlink(missing_ok=True)


def _describe_missing_entry(name: str, program: Path) -> str:
    """Explain why ld did not find the entry `name` in `program`, which it has linked nevertheless."""
    from ..rom import elf  # not for every build
    from ..rom.entry import entry_hint

    try:
        hint = entry_hint(name, elf.elf_symbols(program.read_bytes()))
    except (OSError, ElfError):
        hint = ""
    hint = hint or 'check the spelling; a C++ function needs extern "C", and it must not be static'
    return f"no entry point: ENTRY({name}) of the linker script matches no global function; {hint}"


def _describe_overflow(slot: Slot | None, region: str, excess: int) -> str:
    if region == ldscript.IROM_REGION:
        memory = slot.label if slot else f"region {region}"
        return f"flash code overflows {memory} by {counted(excess, 'byte')}; reduce it or enlarge the slot"
    ram = {"iram1_0_seg": IRAM, "dram0_0_seg": DRAM}.get(region)
    if ram is None:
        return f"region {region} overflows by {counted(excess, 'byte')}"
    hint = "move code to flash" if ram is IRAM else "move constants to flash or shrink buffers"
    return f"{ram.name} sections overflow the {ram.size:,} bytes of {ram.name} by {counted(excess, 'byte')}; {hint}"
