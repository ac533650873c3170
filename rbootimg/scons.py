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
import itertools
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
import SCons.Node
import SCons.Node.FS
import SCons.Scanner
import SCons.Scanner.Prog
import SCons.Script
import SCons.Subst
import SCons.Util

from . import __version__, elf, layout, ldscript, publish, report
from .errors import LayoutError, PublishError, RbootError
from .files import write_atomic
from .flash import DRAM, IRAM, FlashMap, FlashParams, Slot, flash_size, parse_slots
from .pack import irom, pack, usage, warnings

BASE_SCRIPT = Path(__file__).parent / "ld" / "baremetal.ld"
"""The linker script for applications without an SDK."""

_COMPILER = "xtensa-lx106-elf-gcc"

# (name, default, what it is): the tool's variables, in the order of `scons -h`. Where a layout can say it, the
# default is only for the help: a variable that is set overrides the layout.
_VARIABLES: tuple[tuple[str, str, str], ...] = (
    ("RBOOT_LAYOUT", "", "layout file (TOML) or preset; the variables below override it"),
    ("RBOOT_FLASH_SIZE", "1MB", "flash size: 256KB 512KB 1MB 2MB 4MB 8MB 16MB 2MB-c1 4MB-c1"),
    ("RBOOT_FLASH_MODE", "qio", "flash mode: qio qout dio dout"),
    ("RBOOT_FLASH_FREQ", "40m", "flash frequency: 20m 26m 40m 80m"),
    ("RBOOT_HEADER_FLASH_SIZE", "", "size written in the ROM's header (default: RBOOT_FLASH_SIZE)"),
    ("RBOOT_SLOTS", "", "slots: ADDRESS[:SIZE] ... (default: rBoot's pair for the flash size)"),
    ("RBOOT_BIG_FLASH", "", "the loader maps more than 1 MB (BOOT_BIG_FLASH)"),
    ("RBOOT_IROM_CHECKSUM", "", "the loader sums irom too (BOOT_IROM_CHKSUM)"),
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
    "RBOOTLINKCOM": "$LINK -o $TARGET $_RBOOT_LDSCRIPT $RBOOT_LINKFLAGS $LINKFLAGS $_LIBDIRFLAGS "
    "-Wl,--start-group $_LIBFLAGS $SOURCES -Wl,--end-group",
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
    _check_variables(SCons.Script.ARGUMENTS)
    _check_variables(name for name in env.Dictionary() if name.startswith("RBOOT_"))
    env.SetDefault(**keywords)
    for name, default, _ in _VARIABLES:
        value = "" if name.startswith("RBOOT_FLASH_") else default
        env.SetDefault(**{name: SCons.Script.ARGUMENTS.get(name, value)})
    env.SetDefault(**_FLAGS, **_MESSAGES, _RBOOT_VERSION=__version__)
    _set_compiler(env)
    env["BUILDERS"].update(_builders())
    env.AddMethod(_app, "RbootApp")
    env.AddMethod(_program, "RbootProgram")
    env.AddMethod(_publish, "RbootPublish")
    _add_extras(env)


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
    env.Replace(
        **_COMMANDS,
        _RBOOT_LDSCRIPT=_ldscript_options,
        _RBOOT_IMAGE_OPTIONS=_image_options,
        _RBOOT_SCRIPT_OPTIONS=_script_options,
    )
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
        # A folder is never a prefix too: /usr/bin/ would be one of the host's own gcc.
        folders = (os.path.join(named, _COMPILER), os.path.join(named, "bin", _COMPILER))
        places = folders if os.path.isdir(named) else (f"{named}gcc",)
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
            action=_action(_write_script, "$RBOOTLDSCRIPTCOMSTR", "_RBOOT_SCRIPT_OPTIONS"),
            suffix=".ld",
            single_source=True,
        ),
        "_RbootLink": SCons.Builder.Builder(
            action=_Link("$RBOOTLINKCOM", cmdstr="$RBOOTLINKCOMSTR"),
            emitter=_with_script,
            target_scanner=SCons.Scanner.ScannerBase(
                _scan_program,
                "RbootProgram",
                path_function=SCons.Scanner.FindPathDirs("LIBPATH"),
            ),
            suffix=".elf",
        ),
        "RbootImage": SCons.Builder.Builder(
            action=_action(_pack, "$RBOOTIMAGECOMSTR", "_RBOOT_IMAGE_OPTIONS"),
            emitter=_with_elf,
            suffix=".bin",
            src_suffix=".elf",
        ),
    }


# SCons calls a variable's value with these names. One variable stands for all that an action depends on, as
# SCons's time to find nothing to do goes with their number.
def _image_options(target: Any, source: Any, env: Any, for_signature: bool) -> str:
    return f"{_script_options(target, source, env, for_signature)} {env.subst('$RBOOT_SECTIONS')}"


def _script_options(target: Any, source: Any, env: Any, for_signature: bool) -> str:
    slot = env.get("RBOOT_SLOT")
    try:
        found = _map(env)
        return f"{slot} {_params(env, found)} {found.loader}"
    except LayoutError as error:
        return str(error)  # which the action raises again, where SCons prints it well


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
    """Pack each target from its ELF: all of them, or none is written."""
    sections = SCons.Util.CLVar(env.subst("$RBOOT_SECTIONS")) or None
    found = _map(env)
    params = _params(env, found)
    packed = []
    for node, slot in zip(target, _image_slots(target, env)):
        file = node.attributes.rboot_elf
        try:
            app = elf.parse(Path(file.get_abspath()).read_bytes())
            packed.append((node, app, slot, pack(app, sections, params, found.loader.irom_checksum, slot)))
        except RbootError as error:
            raise SCons.Errors.BuildError(node, str(error), filename=str(file)) from None
    for node, app, slot, rom in packed:
        write_atomic(Path(node.get_abspath()), rom.to_bytes())
        for warning in warnings(app, rom):
            print(f"rboot: {node.attributes.rboot_elf}: warning: {warning}", file=sys.stderr)
        if not env.GetOption("silent"):
            print(report.rom_table(str(node), slot, irom(app).address, usage(app, rom.size, slot)))


def _image_slots(target: Any, env: Any) -> list[Slot | None]:
    slots = env.get("RBOOT_SLOT")
    if isinstance(slots, (list, tuple)) and all(isinstance(slot, Slot) for slot in slots):
        return list(slots)
    return [_slot(env) if slots else None] * len(target)


def _with_elf(target: Any, source: Any, env: Any) -> tuple[Any, Any]:
    """The emitter of RbootImage: remembers which ELF each ROM is packed from."""
    elfs = source if len(source) == len(target) else source * len(target)
    if len(elfs) != len(target):
        raise SCons.Errors.UserError(
            f"rboot: RbootImage has {len(source)} ELFs for {len(target)} ROMs; give one for each"
        )
    for node, file in zip(target, elfs):
        node.attributes.rboot_elf = file
    return target, source


def _with_script(target: Any, source: Any, env: Any) -> tuple[Any, Any]:
    """The emitter of RbootProgram: remembers each program's linker script, which is no source of the command.

    Its INCLUDEs are looked for beside it, or beside the base script that it was made from.
    """
    scripts = _scripts(env)
    if len(scripts) != len(target):
        raise SCons.Errors.UserError(
            f"rboot: {len(scripts)} linker scripts for {len(target)} programs; give one for each"
        )
    for node, script in zip(target, scripts):
        node.attributes.rboot_ldscript = script
        node.attributes.rboot_ldfolder = (script.sources[0] if script.has_builder() else script).dir
    return target, source


def _ldscript_options(target: Any, source: Any, env: Any, for_signature: bool) -> list[str]:
    """The value of $_RBOOT_LDSCRIPT: a function, as an expression in the command would be compiled each time."""
    node = target[0].attributes
    return ["-T", str(node.rboot_ldscript), *(f"-L{folder}" for folder in node.rboot_ldfolder.get_all_rdirs())]


def _scripts(env: Any) -> list[Any]:
    """The nodes of $RBOOT_LDSCRIPT, however the user names them."""
    scripts = env.Flatten([env.get("RBOOT_LDSCRIPT") or str(BASE_SCRIPT)])
    return [env.File(env.subst(script) if isinstance(script, str) else script) for script in scripts]


def _scan_program(node: Any, env: Any, path: Any) -> list[Any]:
    """What a program depends on beside its objects: its script, those that this includes, and libraries.

    A script that is still to be generated is scanned again when it is there: SCons sees to that.
    """
    scripts = [node.attributes.rboot_ldscript]
    # ld looks in its working folder, then in the -L folders.
    folders = (env.fs.Top, *path, node.attributes.rboot_ldfolder)
    for script in scripts:
        names = ldscript.includes(script.get_contents()) if script.exists() else ()
        found = (SCons.Node.FS.find_file(name, folders) for name in names)
        scripts += [included for included in found if included and included not in scripts]
    return [*scripts, *SCons.Scanner.Prog.scan(node, env, path)]


class _Link(SCons.Action.CommandAction):  # type: ignore[misc]
    """The link command, run once for each target: the same objects, another linker script.

    One action for all slots, as SCons's time for a build with nothing to do goes with the number of
    actions. Where ld says that a memory region overflowed, so does the error, in our words.
    """

    def __call__(
        self, target: Any, source: Any, env: Any, *arguments: Any, executor: Any = None, **options: Any
    ) -> Any:
        if executor:
            target, source = executor.get_all_targets(), executor.get_all_sources()
        for node in target:
            if error := super().__call__([node], source, env, *arguments, **options):
                return error
        return 0

    def execute(self, target: Any, source: Any, env: Any, executor: Any = None) -> Any:
        with tempfile.TemporaryFile() as messages:

            def spawn(shell: str, escape: Any, command: str, arguments: list[str], environment: Any) -> Any:
                english = {**environment, "LC_ALL": "C"}  # for the words that are looked for below
                return env["PSPAWN"](shell, escape, command, arguments, english, None, messages)

            result = super().execute(target, source, env.Override({"SPAWN": spawn}), executor)
            messages.seek(0)
            text = messages.read().decode(errors="replace")
        sys.stderr.write(text)
        if result:
            result.filename = str(target[0])  # SCons names the first of the targets, whichever failed
            overflows = re.findall(r"region [`']?(\w+)'? overflowed by (\d+) bytes", text)
            slot = getattr(target[0].attributes, "rboot_slot", None)
            result.errstr = (
                "; ".join(_overflow(slot, region, int(excess)) for region, excess in overflows) or result.errstr
            )
        return result

    def get_presig(self, target: Any, source: Any, env: Any, executor: Any = None) -> Any:
        if executor:
            target, source = executor.get_all_targets(), executor.get_all_sources()
        scripts = " ".join(str(node.attributes.rboot_ldscript) for node in target)
        return super().get_presig(target[:1], source, env) + scripts

    def get_implicit_deps(self, target: Any, source: Any, env: Any, executor: Any = None) -> Any:
        # What the base class does, without expanding the rest of the command for it.
        linker = _where(env.subst("$LINK", SCons.Subst.SUBST_SIG).split()[0], str(env["ENV"].get("PATH", "")))
        return [env.fs.File(linker)] if linker else []


@functools.lru_cache
def _where(program: str, path: str) -> str | None:
    return shutil.which(program, path=path)


def _overflow(slot: Slot | None, region: str, excess: int) -> str:
    if region == ldscript.IROM_REGION:
        where = slot.label if slot else f"region {region}"
        return f"the flash code is {excess:,} bytes too large for {where}; make it smaller or the slot larger"
    ram = {"iram1_0_seg": IRAM, "dram0_0_seg": DRAM}.get(region)
    if ram is None:
        return f"region {region} is {excess:,} bytes too small"
    move = "move code to the flash" if ram is IRAM else "move constants to the flash or shrink buffers"
    return f"the {ram.name} sections are {excess:,} bytes larger than the {ram.size:,} bytes there are; {move}"


# Variables


def _is_on(env: Any, name: str) -> bool | None:
    """A yes-or-no variable; None if it is not set."""
    value = env.subst(f"${name}").strip().lower()
    if not value:
        return None
    if value in ("1", "true", "yes", "on"):
        return True
    if value in ("0", "false", "no", "off", "none"):
        return False
    raise LayoutError(f"{name} is {value!r}; write yes or no")


# What holds without a layout file. It says nothing of the loader's MAX_ROMS or the SDK's sectors.
_NO_LAYOUT = """
flash_size = "1MB"
sdk_data = false
[loader]
max_roms = 255
"""


def _map(env: Any, slots: object = None) -> FlashMap:
    """The layout: $RBOOT_LAYOUT's, or none, under what the other variables say; `slots` instead of its slots."""
    texts = {key: env.subst(f"$RBOOT_{key.upper()}") for key in ("flash_size", "flash_mode", "flash_freq")}
    flags = {key: _is_on(env, f"RBOOT_{key.upper()}") for key in ("big_flash", "irom_checksum")}
    slots = slots or env.get("RBOOT_SLOTS")
    if isinstance(slots, str):
        slots = env.subst(slots)
    own = parse_slots(slots) if slots else ()
    try:
        return _layout(_layout_text(env), tuple(texts.items()), tuple(flags.items()), own)
    except LayoutError as error:
        name = env.subst("$RBOOT_LAYOUT")
        raise LayoutError(f"{name}: {error}" if name else str(error)) from None


def _layout_text(env: Any) -> str:
    name = env.subst("$RBOOT_LAYOUT")
    if not name:
        return _NO_LAYOUT
    if name in layout.PRESETS:
        return f'preset = "{name}"'
    try:
        return Path(env.File(name).rfile().get_abspath()).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise LayoutError(f"the layout file cannot be read: {reason}") from None


@functools.lru_cache(maxsize=64)  # each application asks for one of a few
def _layout(text: str, texts: tuple[Any, ...], flags: tuple[Any, ...], slots: tuple[Slot, ...]) -> FlashMap:
    changes: dict[str, Any] = {key: value for key, value in texts if value}
    changes["loader"] = {key: value for key, value in flags if value is not None}
    return layout.from_toml(text, changes, slots)


def _params(env: Any, found: FlashMap) -> FlashParams:
    """The flash bytes for the header of a ROM in the layout `found`."""
    header_size = env.subst("$RBOOT_HEADER_FLASH_SIZE")
    return replace(found.params, size=flash_size(header_size).code) if header_size else found.params


def _slot(env: Any) -> Slot:
    """$RBOOT_SLOT as a Slot, from whatever way of writing one the user chose."""
    value = env.get("RBOOT_SLOT")
    if isinstance(value, Slot):
        return value
    if not value:
        raise LayoutError("RBOOT_SLOT is not set; give the slot's flash address")
    if isinstance(value, str):
        value = env.subst(value)
    return replace(_map(env, [value]).slots[0], number=None)


# Applications and the web root


def _app(env: Any, name: str, source: Any, **overrides: object) -> Any:
    """Compile `source` once, link and pack it for each slot; the ROMs' nodes, in slot order.

    `name` may have a folder before it, as for any SCons target. In the folder `name` stand rom0.elf and
    rom0.bin, and so on for each slot; the linker scripts, which depend only on base script and slot, are
    shared. `overrides` are construction variables for this application.
    """
    _check_variables(overrides)
    env = env.Override(overrides) if overrides else env
    try:
        found = _map(env)
        _params(env, found)
    except LayoutError as error:
        raise SCons.Errors.UserError(f"rboot: {name}: {error}") from None
    slots = found.slots
    base = _scripts(env)[0]
    # Slots in different megabytes can have one link address; what fits the smallest of them fits all.
    links: dict[int, Slot] = {}
    for slot in sorted(slots, key=lambda slot: (slot.size, slot.number)):
        links.setdefault(slot.link_address, slot)
    linked = sorted(links.values(), key=lambda slot: slot.number or 0)
    programs = _program(
        env,
        [f"{name}/rom{slot.number}.elf" for slot in linked],
        source,
        RBOOT_LDSCRIPT=[_script_for(env, base, slot) for slot in linked],
    )
    for program, slot in zip(programs, linked):
        program.attributes.rboot_slot = slot
    program_of = {slot.link_address: program for slot, program in zip(linked, programs)}
    roms = _build(
        env,
        "RbootImage",
        [f"{name}/rom{slot.number}.bin" for slot in slots],
        [program_of[slot.link_address] for slot in slots],
        RBOOT_SLOT=slots,
    )
    _add_to_web_root(env, os.path.basename(name), roms, found, built_here=True)
    return roms


def _program(env: Any, target: Any, source: Any, **overrides: object) -> Any:
    """Compile `source` and link it with $RBOOT_LDSCRIPT as it is; several targets have a list of scripts."""
    # A method and not a builder with a src_builder, which SCons looks through anew for each program. The
    # objects do not depend on our variables: without those, programs can share them.
    compiling = {name: value for name, value in overrides.items() if not name.startswith("RBOOT_")}
    objects = _objects(env.Override(compiling) if compiling else env, source)
    return _build(env, "_RbootLink", target, objects, **overrides)


def _script_for(env: Any, base: Any, slot: Slot) -> Any:
    """The linker script's node: one for all applications of this SConscript with this base and slot."""
    stem = f"{os.path.splitext(base.name)[0]}-{slot.address:06x}-{slot.end:06x}"
    script = env.File(f"{stem}.ld")
    for number in itertools.count(2):
        if not script.has_builder():
            _build(env, "RbootLinkerScript", script, base, RBOOT_SLOT=Slot(slot.address, slot.size))
        if script.sources[0] is base:
            break
        script = env.File(f"{stem}-{number}.ld")  # another base script has the same name
    return script


def _build(env: Any, name: str, target: Any, source: Any, **overrides: object) -> Any:
    """Call a builder without `env.Name`: on an override environment that rebinds the method of the one below it."""
    target = None if target is None else SCons.Util.flatten([target])
    return env.get_builder(name)(env, target, SCons.Util.flatten([source]), **overrides)


def _objects(env: Any, source: Any) -> list[Any]:
    ready = (env.subst("$OBJSUFFIX"), env.subst("$LIBSUFFIX"))
    nodes = env.arg2nodes(env.Flatten([source]), env.File)
    return [node if str(node).endswith(ready) else _build(env, "Object", None, node)[0] for node in nodes]


def _publish(env: Any, name: str, roms: Any) -> Any:
    """Let `scons publish` put `roms`, in slot order, into $RBOOT_WEBROOT as those of application `name`."""
    try:
        return _add_to_web_root(env, name, env.arg2nodes(env.Flatten([roms]), env.File), _map(env), built_here=False)
    except LayoutError as error:
        raise SCons.Errors.UserError(f"rboot: {name}: {error}") from None


def _add_to_web_root(env: Any, name: str, roms: Any, found: FlashMap, built_here: bool) -> Any:
    """What _publish does, for the ROMs of the layout `found`.

    Those that RbootApp built together, of one set of objects, need no proof of being one application.

    The web root's files are no SCons targets: SCons deletes targets before it builds them and when it
    cleans, and a device may be fetching just then. So the alias itself has the action; it runs once,
    after all ROMs are built, and knows all applications.
    """
    alias = env.Alias("publish")[0]
    if not hasattr(alias.attributes, "rboot_apps"):
        alias = env.AlwaysBuild(env.Alias("publish", roms, _action(_write_web_root, "$RBOOTPUBLISHCOMSTR")))[0]
        alias.attributes.rboot_apps = {}
    else:
        env.Depends(alias, roms)  # not Alias(), whose time grows with the square of the ROMs
    apps = alias.attributes.rboot_apps.setdefault(_web_root(env), {})
    entry = (roms, found, built_here)
    if apps.setdefault(name, entry) is not entry:
        raise SCons.Errors.UserError(
            f"rboot: there are two applications called {name}; rename one or give it another RBOOT_WEBROOT"
        )
    return alias


def _web_root(env: Any) -> Path:
    """$RBOOT_WEBROOT, as SCons reads a folder; not as its node, which fails with a traceback for a file."""
    name = env.subst("$RBOOT_WEBROOT")
    base = env.Dir("#" if name.startswith("#") else ".")
    return Path(base.get_abspath(), name.removeprefix("#").removeprefix("/") if name.startswith("#") else name)


def _write_web_root(target: Any, source: Any, env: Any) -> None:
    for web_root, apps in target[0].attributes.rboot_apps.items():
        contents = {name: [rom.get_contents() for rom in roms] for name, (roms, _, _) in apps.items()}
        tree = publish.web_tree(contents, {name: found.loader.irom_checksum for name, (_, found, _) in apps.items()})
        changed = {tree[name] for name in publish.to_publish(tree, web_root)}
        for name, (_, found, built_here) in apps.items():
            if not built_here and changed.intersection(contents[name]):
                publish.check_app(name, contents[name], found.slots)
        for file in publish.publish(tree, web_root):
            path = os.path.relpath(file.path, env.Dir("#").get_abspath())
            print(f"  {path}  {file.size:,} bytes{'' if file.changed else ', unchanged'}")


def _add_extras(env: Any) -> None:
    """What a project has once, however often the tool is loaded: the compile commands and the help."""
    commands = env.File("#compile_commands.json")
    if not commands.has_builder():
        # Only when asked for, as SCons writes it anew each time.
        env.Ignore(env.Dir("#"), env.CompilationDatabase(commands))
    text = _help()
    if text not in (SCons.Script.help_text or ""):
        SCons.Script.HelpFunction(text, append=True, local_only=True)


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
    lines.append(f"  {', '.join(_FLAGS)}: what the chip needs, before your own flags")
    return "\n".join(lines) + "\n"
