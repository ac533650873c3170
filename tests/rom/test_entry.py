"""Checks of the entry point, the linker's substitute for a missing one, and constructors."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from support import chip, sdk
from support.images import SLOTS
from support.project import APP, ROOT, TOOL, Project

from rbootimg.errors import FitError, PublishError
from rbootimg.layout.presets import preset_layout
from rbootimg.release.bundle import ReleaseOptions, make_bundle
from rbootimg.rom import elf
from rbootimg.rom.elf import Symbol
from rbootimg.rom.entry import NO_SYMBOLS, entry_hint, entry_problem
from rbootimg.rom.pack import pack, warnings

pytestmark = pytest.mark.needs("xtensa-lx106-elf-gcc")

ASSEMBLY = """
__asm__(".text\\n.align 4\\n.word 0\\n.global begin\\nbegin: movi a2, 0\\n.align 4\\n");
__asm__(".global later\\nlater: j later\\n");
__asm__(".section .irom0.text,\\"ax\\"\\n.word 1\\n.text\\n");
__asm__(".type table, @object\\n.size table, 8\\n.align 4\\n.global table\\ntable: .word 1, 2\\n");
"""
FUNCTIONS = """
__attribute__((section(".irom0.text"), used)) static const int words[] = {1};
__attribute__((noinline)) int first(int n) { return n * n + 1; }
int counter;
void %s { for (int i = 0; i < 3; i++) counter += first(i); }
"""


def linked(source: str, *flags: str) -> elf.Elf:
    return elf.parse_elf(chip.compiled(source, *flags))


# ELFs


def test_a_c_function_is_an_entry() -> None:
    app = linked(FUNCTIONS % "call_user_start(void)")
    assert entry_problem(app) is None
    assert warnings(app, pack(app)) == ()


def test_a_label_in_hand_written_assembly_is_an_entry() -> None:
    for name in ("begin", "later"):
        assert entry_problem(linked(ASSEMBLY, f"-Wl,-e,{name}")) is None


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (
            "call_user_start+4",
            r"entry point 0x\w+ is inside the function call_user_start \(call_user_start\+0x4\); check",
        ),
        ("first+4", r"entry point 0x\w+ is inside the function first \(first\+0x4\)"),
        ("counter", r"entry point 0x3ffe\w+ is in .data, a data section"),
    ],
)
def test_an_entry_that_is_not_a_functions_start_is_refused(entry: str, message: str) -> None:
    app = linked(
        FUNCTIONS.replace("int counter;", "int counter = 3;") % "call_user_start(void)",
        f"-Wl,--defsym=at={entry},-e,at",
    )
    with pytest.raises(FitError, match=message):
        pack(app)


def test_an_entry_before_the_first_function_is_refused() -> None:
    with pytest.raises(FitError, match="no function starts at entry point 0x40100000: the linker uses the start of"):
        pack(linked(ASSEMBLY, "-Wl,-e,0x40100000"))


def test_an_object_among_the_code_is_not_an_entry() -> None:
    with pytest.raises(FitError, match=r"entry point 0x\w+ is data: table; check ENTRY"):
        pack(linked(ASSEMBLY, "-Wl,-e,table"))


@pytest.mark.parametrize(
    ("declared", "hint"),
    [
        ("__attribute__((used)) static void call_user_start(void)", "call_user_start is static; remove `static`"),
        (
            "_Z15call_user_starti(int reason)",
            '_Z15call_user_starti is a C++ function; declare call_user_start extern "C"',
        ),
    ],
)
def test_what_the_linker_took_for_want_of_the_entry_is_refused(declared: str, hint: str) -> None:
    source = FUNCTIONS.replace("void %s", "%s" if "static" in declared else "void %s") % declared
    app = linked(source)
    assert app.entry == 0x40100000
    with pytest.raises(FitError, match=r"ENTRY|the linker does not find call_user_start") as refused:
        pack(app)
    assert hint in str(refused.value)


def test_the_start_of_text_may_be_another_function() -> None:
    """Without a literal before it, only the names tell that ld did not find what it looked for."""
    source = "void other(void) {}\n__attribute__((used)) static void call_user_start(void) { for (;;) ; }\n"
    app = linked(source + '__attribute__((section(".irom0.text"), used)) static const int words[] = {1};')
    with pytest.raises(
        FitError, match=r"0x40100000 is the start of \.text, used because the linker does not .* is static"
    ):
        pack(app)


def test_a_stripped_elf_is_packed_with_a_note() -> None:
    app = linked(FUNCTIONS % "call_user_start(void)", "-s")
    assert warnings(app, pack(app)) == (NO_SYMBOLS,)
    with pytest.raises(FitError, match="is outside the RAM sections in IRAM"):
        pack(app._replace(entry=0x40107000))


def test_the_hint_names_what_may_be_meant() -> None:
    symbols = (Symbol("call_user_strat", 0x40100000, 8, "func"), Symbol("main", 0x40100008, 8, "func"))
    assert entry_hint("call_user_start", symbols) == "a similar function is call_user_strat; check the spelling"
    assert entry_hint("call_user_start", symbols[1:]) == ""


def test_an_elf_whose_entry_is_not_a_functions_start_is_not_published() -> None:
    program = chip.linked(FUNCTIONS % "call_user_start(void)", SLOTS[0])
    good = pack(elf.parse_elf(program))
    at = elf.parse_elf(program).entry + 4
    program = program[:24] + at.to_bytes(4, "little") + program[28:]  # e_entry
    with pytest.raises(
        PublishError, match=r"rom0\.elf of app: entry point 0x\w+ is inside the function call_user_start"
    ):
        make_bundle(
            "app", "1.0.0", [good._replace(entry=at).to_bytes()], preset_layout("1MB"), ReleaseOptions(elfs=[program])
        )


# Builds


NO_ENTRY = (
    "scons: *** [app/rom0.elf] app/rom0.elf: no entry point: "
    "ENTRY(call_user_start) of the linker script matches no global function"
)


@pytest.mark.parametrize(
    ("name", "declared", "hint"),
    [
        (
            "main.c",
            "__attribute__((used)) static void call_user_start(void)",
            "call_user_start is static; remove `static`",
        ),
        (
            "main.cpp",
            "void call_user_start(int reason)",
            '_Z15call_user_starti is a C++ function; declare call_user_start extern "C"',
        ),
        ("main.c", "void call_user_strat(void)", "a similar function is call_user_strat; check the spelling"),
        (
            "main.c",
            "void begin(void)",
            'check the spelling; a C++ function needs extern "C", and it must not be static',
        ),
    ],
)
def test_a_link_without_its_entry_fails_with_a_hint(project: Project, name: str, declared: str, hint: str) -> None:
    (project.directory / "main.c").unlink()
    c = 'extern "C" ' if name.endswith("pp") else "extern "
    project.write(
        name,
        f"{c}int ets_printf(const char *, ...);\n"
        '__attribute__((section(".irom0.text"), used)) static const unsigned words[] = {1, 2, 3, 4};\n'
        f'{declared} {{ ets_printf("alive\\n"); for (;;) ; }}\n',
    )
    project.write("SConstruct", f"env = Environment({TOOL})\nenv.RbootApp('app', Glob('main.c*'))\n")
    for _ in range(2):  # nothing is left that would count as built
        assert project.fail("publish") == f"{NO_ENTRY}; {hint}"
        assert not project.exists("app/rom0.elf")
    assert not project.exists("build/webroot")


def test_the_entry_that_the_newest_sdk_names_is_the_one_that_it_has(project: Project, tmp_path: Path) -> None:
    base = sdk.make(tmp_path / "sdk")
    script = base / "ld" / "eagle.app.v6.ld"
    script.write_bytes(script.read_bytes().replace(b"ENTRY(call_user_start)", b"ENTRY(call_user_start1)"))
    project.write(
        "SConstruct",
        f"env = Environment({TOOL}, LIBPATH=[{str(base / 'lib')!r}], LIBS=['main', 'phy', 'net80211', 'pp'],\n"
        f"    LINKFLAGS='-u call_user_start', RBOOT_LDSCRIPT={str(script)!r})\n"
        "env.RbootApp('app', 'user.c')\n",
    )
    project.write(
        "user.c",
        "void user_pre_init(void) {}\nint user_rf_cal_sector_set(void) { return 0; }\n"
        '__attribute__((section(".irom0.text"))) void user_init(void) {}\n',
    )
    project.build()
    symbols = elf.elf_symbols(project.read("app/rom0.elf"))
    [start] = [symbol.address for symbol in symbols if symbol.name == "call_user_start"]
    assert elf.parse_elf(project.read("app/rom0.elf")).entry == start
    # An application's own comes first.
    project.write("own.c", "void call_user_start1(void) { for (;;) ; }\n")
    project.write("SConstruct", (project.read("SConstruct").decode()).replace("'user.c'", "['user.c', 'own.c']"))
    project.build()
    symbols = elf.elf_symbols(project.read("app/rom0.elf"))
    [own] = [symbol.address for symbol in symbols if symbol.name == "call_user_start1"]
    assert elf.parse_elf(project.read("app/rom0.elf")).entry == own != start


# The script for bare metal


CONSTRUCTORS = """
extern "C" int ets_printf(const char *, ...);
extern "C" void Cache_Read_Enable(unsigned, unsigned, unsigned);
struct Told { Told(int n) { ets_printf("%d ", n); } };
Told last(5);
__attribute__((init_priority(300))) Told third(3);
__attribute__((init_priority(1000))) Told fourth(4);
__attribute__((constructor(200))) static void second(void) { ets_printf("2 "); }
__attribute__((constructor(150))) static void first(void) { ets_printf("1 "); }
asm(".section .init_array.00250, \\"aw\\"\\n.word told_in_assembly\\n.text\\n");
extern "C" void told_in_assembly(void) { ets_printf("2.5 "); }
typedef void (*Constructor)(void);
extern "C" Constructor _init_array_start[], _init_array_end[];
__attribute__((section(".irom0.text"), noinline)) static void run(void) { ets_printf("done\\n"); }
extern "C" void call_user_start(void)
{
    Cache_Read_Enable(0, 0, 1);
    for (Constructor *each = _init_array_start; each < _init_array_end; each++) (*each)();
    run();
}
"""


@pytest.mark.needs("qemu-system-xtensa")
def test_constructors_run_by_priority(project: Project) -> None:
    project.write("main.cpp", CONSTRUCTORS)
    project.write(
        "SConstruct",
        f"env = Environment({TOOL}, CXXFLAGS='-fno-exceptions -fno-rtti -g3')\n"
        "env.RbootFlashImage('flash.bin', env.RbootApp('app', 'main.cpp'))\n",
    )
    assert "1 2 2.5 3 4 5 done" in project.build("boot")


def test_what_the_script_has_no_place_for_is_an_error(project: Project) -> None:
    project.write("main.c", APP + '__attribute__((section("lost"), used)) static int kept = 7;\n')
    run = project.run()
    assert run.status == 2
    assert "unplaced orphan section `lost' from `main.o'" in run.err
    assert not project.exists("app/rom0.elf")


def test_so_it_is_where_the_package_is_part_of_the_project(project: Project) -> None:
    for part in ("rbootimg", "site_scons"):
        shutil.copytree(ROOT / part, project.directory / part, ignore=shutil.ignore_patterns("__pycache__"))
    project.write("main.c", APP + '__attribute__((section("lost"), used)) static int kept = 7;\n')
    project.write("SConstruct", "env = Environment(tools=['default', 'rboot'])\nenv.RbootApp('app', 'main.c')\n")
    assert "unplaced orphan section `lost' from `main.o'" in project.run().err


@pytest.mark.parametrize("flags", ["-g3", "-gdwarf-4 -g3", "-gdwarf-2", "-ggdb -fdebug-types-section", "-flto"])
def test_debug_information_has_its_place(project: Project, flags: str) -> None:
    project.write(
        "SConstruct", f"env = Environment({TOOL.replace('-Os', f'-Os {flags}')})\nenv.RbootApp('app', 'main.c')\n"
    )
    project.build()
