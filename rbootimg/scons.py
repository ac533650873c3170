"""The SCons tool: builders, scanner, the `publish` target. The only user of SCons.

Builders and methods that `generate` adds to an environment:

    RbootApp(name, sources)             compile once, link and pack for each slot, publish
    RbootLinkerScript(target, base)     a base linker script -> the one for $RBOOT_SLOT
    RbootProgram(target, sources)       link with $RBOOT_LDSCRIPT as it is
    RbootImage(target, elf)             pack an ELF, whoever linked it
    RbootPublish(name, roms)            what `scons publish` puts into the web root

The library below raises RbootError and knows nothing of SCons; here these become UserError while
SConscripts are read and BuildError while targets are built, which SCons prints as one line.
"""

from __future__ import annotations

import functools
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import SCons.Action
import SCons.Builder
import SCons.Errors
import SCons.Scanner
import SCons.Scanner.Prog
import SCons.Script
import SCons.Util

from . import __version__, elf, ldscript, publish, report
from .errors import FitError, LayoutError, PublishError, RbootError
from .files import write_atomic
from .flash import DRAM, IRAM, FlashMap, FlashParams, Slot, flash_map
from .pack import IROM_SECTION, pack, usage, warnings

BASE_SCRIPT = Path(__file__).parent / "ld" / "baremetal.ld"
"""The linker script for applications without an SDK."""

_COMPILER = "xtensa-lx106-elf-gcc"

# (name, default, what it is): the tool's variables, in the order of `scons -h`.
_VARIABLES: tuple[tuple[str, object, str], ...] = (
    ("RBOOT_FLASH_SIZE", "1MB", "flash size: 256KB 512KB 1MB 2MB 4MB 8MB 16MB 2MB-c1 4MB-c1"),
    ("RBOOT_FLASH_MODE", "qio", "flash mode: qio qout dio dout"),
    ("RBOOT_FLASH_FREQ", "40m", "flash frequency: 20m 26m 40m 80m"),
    ("RBOOT_HEADER_FLASH_SIZE", "", "size written in the ROM's header (default: RBOOT_FLASH_SIZE)"),
    ("RBOOT_SLOTS", "", "slots: ADDRESS[:SIZE] ... (default: rBoot's pair for the flash size)"),
    ("RBOOT_BIG_FLASH", False, "the loader maps more than 1 MB (BOOT_BIG_FLASH)"),
    ("RBOOT_IROM_CHECKSUM", False, "the loader sums irom too (BOOT_IROM_CHKSUM)"),
    ("RBOOT_LDSCRIPT", "", "base linker script (default: our own for bare-metal applications)"),
    ("RBOOT_SECTIONS", "", "RAM sections in ROM order (default: those of .text .data .rodata with data)"),
    ("RBOOT_WEBROOT", "#build/webroot", "folder that `scons publish` writes to"),
    ("RBOOT_TOOLCHAIN", "", f"folder or prefix of {_COMPILER} (default: PATH)"),
)

# What an ESP8266 needs of the compiler. In variables of their own, before the user's flags: whoever
# sets CCFLAGS or LINKFLAGS replaces nothing of this, and may override it.
_FLAGS = {
    "RBOOT_CCFLAGS": "-mlongcalls -mtext-section-literals",
    "RBOOT_ASFLAGS": "--longcalls --text-section-literals",
    "RBOOT_LINKFLAGS": "-nostdlib -static",
}
_COMMANDS = {
    "CCCOM": "$CC -o $TARGET -c $RBOOT_CCFLAGS $CFLAGS $CCFLAGS $_CCCOMCOM $SOURCES",
    "CXXCOM": "$CXX -o $TARGET -c $RBOOT_CCFLAGS $CXXFLAGS $CCFLAGS $_CCCOMCOM $SOURCES",
    "ASCOM": "$AS $RBOOT_ASFLAGS $ASFLAGS -o $TARGET $SOURCES",
    "ASPPCOM": "$CC $RBOOT_CCFLAGS $ASPPFLAGS $CPPFLAGS $_CPPDEFFLAGS $_CPPINCFLAGS -c -o $TARGET $SOURCES",
    "LINK": "$CC",
    # Libraries and objects in one group, libraries first: the order of the SDK's and rBoot's Makefiles,
    # on which the order of the code in the ROM depends.
    "RBOOTLINKCOM": "$LINK -o $TARGET -T ${TARGET.attributes.rboot_ldscript} $RBOOT_LINKFLAGS $LINKFLAGS "
    "$_LIBDIRFLAGS $_RBOOT_LDSCRIPT_FOLDER -Wl,--start-group $_LIBFLAGS $SOURCES -Wl,--end-group",
    "_RBOOT_LDSCRIPT_FOLDER": "${_concat(LIBDIRPREFIX, [TARGET.attributes.rboot_ldfolder], LIBDIRSUFFIX, "
    "__env__, RDirs, TARGET, SOURCE)}",
}
_MESSAGES = {
    "RBOOTLDSCRIPTCOMSTR": "Writing linker script $TARGET",
    "RBOOTIMAGECOMSTR": "Packing $TARGET",
    "RBOOTPUBLISHCOMSTR": "Publishing",
}


def exists(env: Any) -> bool:
    """SCons asks whether the tool can be used; packing needs no compiler, so it always can."""
    return True


def generate(env: Any, **keywords: object) -> None:
    """Set up `env`: the cross compiler, the builders, and a default for each RBOOT_ variable.

    A variable's value comes from the environment, else from `keywords`, else from the command line
    (`scons RBOOT_FLASH_SIZE=4MB`), else it is the default. Raises UserError for an unknown one.
    """
    _check_variables(keywords)
    _check_variables(name for name in env.Dictionary() if name.startswith("RBOOT_"))
    env.SetDefault(**keywords)
    env.SetDefault(**{name: SCons.Script.ARGUMENTS.get(name, default) for name, default, _ in _VARIABLES})
    env.SetDefault(**_FLAGS, **_MESSAGES, _RBOOT_VERSION=__version__)
    _set_compiler(env)
    env["BUILDERS"].update(_builders())
    env.AddMethod(_app, "RbootApp")
    env.AddMethod(_publish, "RbootPublish")


def _check_variables(names: Iterable[str]) -> None:
    known = [*(name for name, _, _ in _VARIABLES), *_FLAGS, "RBOOT_SLOT"]
    for name in names:
        if name.startswith("RBOOT_") and name not in known:
            raise SCons.Errors.UserError(f"rboot: there is no variable {name}; `scons -h` lists them")


# The compiler


def _set_compiler(env: Any) -> None:
    for tool, variable in (("cc", "CCCOM"), ("cxx", "CXXCOM"), ("as", "ASCOM"), ("link", "LINKCOM"), ("ar", "ARCOM")):
        if variable not in env:
            env.Tool(tool)
    # After the compilers, whose emitters it wraps; only once, or each command would be in it twice.
    if "CompilationDatabase" not in env["BUILDERS"]:
        env.Tool("compilation_db")
    env.Replace(**_COMMANDS)
    if "xtensa" in str(env.get("CC", "")):
        return  # the user's own choice
    compiler = _find_compiler(env)
    if compiler is None:
        env.Replace(CC=_no_compiler, CXX=_no_compiler, AS=_no_compiler)
        return
    prefix = compiler.removesuffix("gcc")
    env.Replace(CC=compiler, CXX=f"{prefix}g++", AS=f"{prefix}as", AR=f"{prefix}ar", RANLIB=f"{prefix}ranlib")


def _toolchain(env: Any) -> str:
    return env.subst("$RBOOT_TOOLCHAIN") or os.environ.get("RBOOT_TOOLCHAIN", "")


def _find_compiler(env: Any) -> str | None:
    """The compiler as a command line needs it: bare where the build's own PATH has it, else absolute."""
    named = _toolchain(env)
    if named:
        places = (f"{named}gcc", os.path.join(named, _COMPILER), os.path.join(named, "bin", _COMPILER))
        return next(filter(None, map(shutil.which, places)), None)
    if shutil.which(_COMPILER, path=str(env["ENV"].get("PATH", ""))):
        return _COMPILER
    return shutil.which(_COMPILER)


# SCons calls a variable's value with these names, whenever a command line needs it.
def _no_compiler(target: Any, source: Any, env: Any, for_signature: bool) -> str:
    """The compiler where there is none: a value that fails when it is used, not while reading."""
    if for_signature:
        return _COMPILER
    named = _toolchain(env)
    where = f"in RBOOT_TOOLCHAIN ({named})" if named else "on PATH"
    raise SCons.Errors.BuildError(
        node=target,
        errstr=f"no {_COMPILER} {where}; install it (Debian: gcc-xtensa-lx106 and binutils-xtensa-lx106) "
        "or set RBOOT_TOOLCHAIN to its folder",
    )


# The builders


def _builders() -> dict[str, Any]:
    return {
        "RbootLinkerScript": SCons.Builder.Builder(
            action=_action(_write_script, "$RBOOTLDSCRIPTCOMSTR", "RBOOT_SLOT"),
            suffix=".ld",
            single_source=True,
        ),
        "RbootProgram": SCons.Builder.Builder(
            action=_Link("$RBOOTLINKCOM", cmdstr="$RBOOTLINKCOMSTR"),
            emitter=_with_script,
            target_scanner=SCons.Scanner.ScannerBase(
                _scan_program,
                "RbootProgram",
                path_function=SCons.Scanner.FindPathDirs("LIBPATH"),
                recursive=lambda nodes: [node for node in nodes if str(node).endswith(".ld")],
            ),
            suffix=".elf",
            src_suffix="$OBJSUFFIX",
            src_builder="Object",
        ),
        "RbootImage": SCons.Builder.Builder(
            action=_action(
                _pack,
                "$RBOOTIMAGECOMSTR",
                "RBOOT_SLOT",
                "RBOOT_SECTIONS",
                "RBOOT_FLASH_MODE",
                "RBOOT_FLASH_SIZE",
                "RBOOT_FLASH_FREQ",
                "RBOOT_HEADER_FLASH_SIZE",
                "RBOOT_IROM_CHECKSUM",
            ),
            suffix=".bin",
            src_suffix=".elf",
            single_source=True,
        ),
    }


def _action(function: Callable[[Any, Any, Any], None], message: str, *variables: str) -> Any:
    """An action that runs `function`, prints library errors as one line, and depends on `variables`."""

    @functools.wraps(function)
    def run(target: Any, source: Any, env: Any) -> None:
        try:
            function(target, source, env)
        except PublishError as error:
            raise SCons.Errors.BuildError(target, str(error)) from None
        except RbootError as error:
            raise SCons.Errors.BuildError(target, str(error), filename=str(source[0])) from None
        except OSError as error:
            raise SCons.Errors.BuildError(target, error.strerror, filename=str(error.filename or target[0])) from None

    # SCons sees a change of the function, not of the library below it: hence the version.
    return SCons.Action.Action(run, cmdstr=message, varlist=["_RBOOT_VERSION", *variables])


def _write_script(target: Any, source: Any, env: Any) -> None:
    script = ldscript.for_slot(source[0].get_contents(), _slot(env))
    write_atomic(Path(target[0].get_abspath()), script)


def _pack(target: Any, source: Any, env: Any) -> None:
    path = Path(target[0].get_abspath())
    app = elf.parse(Path(source[0].get_abspath()).read_bytes())
    slot = _slot(env) if env.get("RBOOT_SLOT") else None
    sections = SCons.Util.CLVar(env.subst("$RBOOT_SECTIONS")) or None
    params = FlashParams.from_names(
        env.subst("$RBOOT_FLASH_MODE"),
        env.subst("$RBOOT_HEADER_FLASH_SIZE") or env.subst("$RBOOT_FLASH_SIZE"),
        env.subst("$RBOOT_FLASH_FREQ"),
    )
    rom = pack(app, sections, params, _is_on(env, "RBOOT_IROM_CHECKSUM"), slot)
    data = rom.to_bytes()
    write_atomic(path, data)
    for warning in warnings(app, rom):
        print(f"rboot: {source[0]}: warning: {warning}", file=sys.stderr)
    if not env.GetOption("silent"):
        irom = app.find(IROM_SECTION)
        assert irom is not None, "pack() refuses an application without it"
        print(report.rom_table(str(target[0]), slot, irom.address, usage(app, len(data), slot)))


def _with_script(target: Any, source: Any, env: Any) -> tuple[Any, Any]:
    """The emitter of RbootProgram: remembers the linker script, which is no source of the command.

    Its INCLUDEs are looked for beside it, or beside the base script that it was made from.
    """
    script = _base_script(env)
    target[0].attributes.rboot_ldscript = script
    target[0].attributes.rboot_ldfolder = (script.sources[0] if script.has_builder() else script).dir
    return target, source


def _base_script(env: Any) -> Any:
    script = env.get("RBOOT_LDSCRIPT") or str(BASE_SCRIPT)
    return env.File(env.subst(script) if isinstance(script, str) else script)


def _scan_program(node: Any, env: Any, path: Any) -> list[Any]:
    """What a program depends on beside its objects: the script, those it includes, and libraries.

    SCons calls it for the program, and then for each linker script found.
    """
    script = getattr(node.attributes, "rboot_ldscript", None)
    if script:
        return [script, *SCons.Scanner.Prog.scan(node, env, path)]
    # ld looks in its working folder, then in the -L folders.
    folders = (env.Dir("#"), *path, (node.sources[0] if node.has_builder() else node).dir)
    names = ldscript.includes(node.get_contents()) if node.exists() else ()
    return [found for name in names if (found := SCons.Node.FS.find_file(name, folders))]


class _Link(SCons.Action.CommandAction):  # type: ignore[misc]
    """The link command; where ld says that a memory region overflowed, so does the error, in our words."""

    def execute(self, target: Any, source: Any, env: Any, executor: Any = None) -> Any:
        with tempfile.TemporaryFile() as messages:

            def spawn(shell: str, escape: Any, command: str, arguments: list[str], environment: Any) -> Any:
                return env["PSPAWN"](shell, escape, command, arguments, environment, None, messages)

            result = super().execute(target, source, env.Override({"SPAWN": spawn}), executor)
            messages.seek(0)
            text = messages.read().decode(errors="replace")
        sys.stderr.write(text)
        overflows = re.findall(r"region [`']?(\w+)'? overflowed by (\d+) bytes", text)
        if result and overflows:
            result.errstr = "; ".join(_overflow(env, region, int(excess)) for region, excess in overflows)
        return result


def _overflow(env: Any, region: str, excess: int) -> str:
    if region == ldscript.IROM_REGION:
        slot = env.get("RBOOT_SLOT")
        where = slot.label if isinstance(slot, Slot) else f"region {region}"
        return f"the flash code is {excess:,} bytes too large for {where}; make it smaller or the slot larger"
    ram = {"iram1_0_seg": IRAM, "dram0_0_seg": DRAM}.get(region)
    if ram is None:
        return f"region {region} is {excess:,} bytes too small"
    move = "move code to the flash" if ram is IRAM else "move constants to the flash or shrink buffers"
    return f"the {ram.name} sections are {excess:,} bytes larger than the {ram.size:,} bytes there are; {move}"


# Variables


def _is_on(env: Any, name: str) -> bool:
    value = env.subst(f"${name}").strip().lower()
    if value in ("1", "true", "yes", "on"):
        return True
    if value in ("", "0", "false", "no", "off", "none"):
        return False
    raise LayoutError(f"{name} is {value!r}; write yes or no")


def _map(env: Any) -> FlashMap:
    slots = env.get("RBOOT_SLOTS")
    if isinstance(slots, str):
        slots = env.subst(slots)
    return flash_map(env.subst("$RBOOT_FLASH_SIZE"), slots, _is_on(env, "RBOOT_BIG_FLASH"))


def _slot(env: Any) -> Slot:
    """$RBOOT_SLOT as a Slot, from whatever way of writing one the user chose."""
    value = env.get("RBOOT_SLOT")
    if isinstance(value, Slot):
        return value
    if not value:
        raise LayoutError("RBOOT_SLOT is not set; give the slot's flash address")
    if isinstance(value, str):
        value = env.subst(value)
    only = flash_map(env.subst("$RBOOT_FLASH_SIZE"), [value], _is_on(env, "RBOOT_BIG_FLASH")).slots[0]
    return replace(only, number=None)


# Applications and the web root


def _app(env: Any, name: str, source: Any, **overrides: object) -> Any:
    """Compile `source` once, link and pack it for each slot; the ROMs' nodes, in slot order.

    `name` may have a folder before it, as for any SCons target. In the folder `name` stand, for each
    slot, rom0.ld, rom0.elf and rom0.bin. `overrides` are construction variables for this application.
    """
    _check_variables(overrides)
    env = env.Override(overrides) if overrides else env
    try:
        slots = _map(env).slots
        params = [env.subst(f"$RBOOT_FLASH_{what}") for what in ("MODE", "SIZE", "FREQ")]
        FlashParams.from_names(*params)
        _is_on(env, "RBOOT_IROM_CHECKSUM")
    except LayoutError as error:
        raise SCons.Errors.UserError(f"rboot: {name}: {error}") from None
    objects = _objects(env, source)
    base = _base_script(env)
    programs: dict[int, Any] = {}
    roms = []
    for number, slot in enumerate(slots):
        if slot.link_address not in programs:
            # Slots in different megabytes can have one link address; what fits the smallest fits all.
            same = (other for other in slots if other.link_address == slot.link_address)
            linked = min(same, key=lambda other: (other.size, other.number))
            script = env.RbootLinkerScript(f"{name}/rom{number}.ld", base, RBOOT_SLOT=linked)[0]
            programs[slot.link_address] = env.RbootProgram(
                f"{name}/rom{number}.elf", objects, RBOOT_LDSCRIPT=script, RBOOT_SLOT=linked
            )
        roms += env.RbootImage(f"{name}/rom{number}.bin", programs[slot.link_address], RBOOT_SLOT=slot)
    _publish(env, os.path.basename(name), roms)
    return SCons.Node.NodeList(roms)


def _objects(env: Any, source: Any) -> list[Any]:
    ready = (env.subst("$OBJSUFFIX"), env.subst("$LIBSUFFIX"))
    nodes = env.arg2nodes(env.Flatten([source]), env.File)
    return [node if str(node).endswith(ready) else env.Object(node)[0] for node in nodes]


def _publish(env: Any, name: str, roms: Any) -> Any:
    """Let `scons publish` put `roms`, in slot order, into $RBOOT_WEBROOT as those of application `name`.

    The web root's files are no SCons targets: SCons deletes targets before it builds them and when it
    cleans, and a device may be fetching just then. So the alias itself has the action; it runs once,
    after all ROMs are built, and knows all applications.
    """
    alias = env.Alias("publish")[0]
    if not alias.has_builder():
        alias = env.AlwaysBuild(env.Alias("publish", roms, _action(_write_web_root, "$RBOOTPUBLISHCOMSTR")))[0]
        alias.attributes.rboot_apps = {}
        env.Ignore(env.Dir("#"), env.CompilationDatabase("#compile_commands.json"))
        SCons.Script.HelpFunction(_help(), append=True, local_only=True)
    else:
        env.Alias("publish", roms)
    apps = alias.attributes.rboot_apps.setdefault(env.Dir(env.subst("$RBOOT_WEBROOT")), {})
    if apps.setdefault(name, roms) is not roms:
        raise SCons.Errors.UserError(f"rboot: there are two applications called {name}; rename one or give it another RBOOT_WEBROOT")
    return alias


def _write_web_root(target: Any, source: Any, env: Any) -> None:
    for web_root, apps in target[0].attributes.rboot_apps.items():
        tree = publish.web_tree({name: [rom.get_contents() for rom in roms] for name, roms in apps.items()})
        for file in publish.publish(tree, Path(web_root.get_abspath())):
            path = os.path.join(str(web_root), file.path.relative_to(web_root.get_abspath()))
            print(f"  {path}  {file.size:,} bytes{'' if file.changed else ', unchanged'}")


def _help() -> str:
    targets = (
        ("(none)", "build the ROMs of each slot"),
        ("publish", "put the ROMs into the web root"),
        ("compile_commands.json", "the compile commands, for editors"),
    )
    lines = ["", "rBoot targets:", *(f"  {name:<24}{text}" for name, text in targets), ""]
    lines.append("rBoot variables, set in the SConstruct or, where that does not, as NAME=VALUE on the command line:")
    for name, default, text in _VARIABLES:
        lines.append(f"  {name:<24}{text}{f' [{default}]' if default else ''}")
    return "\n".join(lines) + "\n"
