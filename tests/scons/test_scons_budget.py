"""RBOOT_BUDGET through the real SCons and compiler."""

from __future__ import annotations

import pytest
from support.project import TOOL, Project

pytestmark = pytest.mark.needs("xtensa-lx106-elf-gcc")

MAIN = """
char table[2000] = {1};
char buffer[3000];
void __attribute__((used)) fill(int at) { buffer[at] = table[at]; }
__attribute__((section(".irom0.text"), noinline)) void in_flash(void) { }
void call_user_start(void) { fill(1); in_flash(); }
"""


@pytest.fixture
def budgeted(project: Project) -> Project:
    """A project with RAM to exceed."""
    project.write("main.c", MAIN)
    sconstruct(project, "RBOOT_BUDGET={}")
    return project


def sconstruct(project: Project, settings: str) -> None:
    project.write("SConstruct", f"env = Environment({TOOL}, {settings})\nenv.RbootApp('app', 'main.c')\n")


def test_a_rom_over_the_budget_fails_the_build_and_names_the_largest_symbols(budgeted: Project) -> None:
    sconstruct(budgeted, "RBOOT_BUDGET={'DRAM': '5%', 'rom': '460KB'}")
    error = budgeted.fail()
    assert error.startswith("scons: *** [app/rom0.bin] app/rom0.elf: DRAM: 5,00")
    assert " over the limit of 4,096 (5%); largest: buffer 3,000, table 2,000" in error
    assert not budgeted.exists("app/rom0.bin")
    sconstruct(budgeted, "RBOOT_BUDGET={'DRAM': '10%', 'rom': '460KB'}")
    budgeted.build()
    assert budgeted.exists("app/rom0.bin")
    assert "up to date" in budgeted.build()


def test_the_command_line_sets_several_limits(budgeted: Project) -> None:
    budgeted.build("RBOOT_BUDGET=")
    error = budgeted.fail("RBOOT_BUDGET=dram=1KB,rom=0.1%")
    assert "DRAM: 5,00" in error
    assert "; rom: 2," in error
    assert " over the limit of 524 (0.1%); largest: table 2,000" in error
    budgeted.build("RBOOT_BUDGET=DRAM=6KB rom=90%")


def test_the_budget_of_one_application_is_its_own(budgeted: Project) -> None:
    budgeted.write(
        "SConstruct",
        f"env = Environment({TOOL})\n"
        "env.RbootApp('small', 'main.c', RBOOT_BUDGET={'DRAM': 1})\n"
        "env.RbootApp('large', 'main.c')\n",
    )
    assert "[small/rom0.bin] small/rom0.elf: DRAM" in budgeted.fail("-k")
    assert budgeted.exists("large/rom1.bin")


@pytest.mark.parametrize(
    ("value", "error"),
    [
        (
            "{'IRAM': '95 %'}",
            "RBOOT_BUDGET: invalid limit '95 %' for IRAM: expected a size such as 30KB or a percentage",
        ),
        ("{'flash': '1KB'}", "RBOOT_BUDGET: unknown memory 'flash': expected one of IRAM, DRAM, rom"),
        ("'95%'", "RBOOT_BUDGET: unknown memory '95%': expected one of IRAM, DRAM, rom"),
        ("{'rom': '+1KB'}", "RBOOT_BUDGET: invalid limit '+1KB' for rom"),
    ],
)
def test_an_invalid_budget_is_one_line(budgeted: Project, value: str, error: str) -> None:
    sconstruct(budgeted, f"RBOOT_BUDGET={value}")
    assert error in budgeted.fail()


def test_a_percentage_of_a_rom_without_a_slot_is_refused(budgeted: Project) -> None:
    budgeted.build("RBOOT_BUDGET=")
    budgeted.write(
        "SConstruct",
        f"env = Environment({TOOL})\nenv.RbootImage('x.bin', 'app/rom0.elf', RBOOT_BUDGET='rom=90%')\n",
    )
    assert "[x.bin] app/rom0.elf: limit 90% for rom requires the slot of the ROM" in budgeted.fail()
