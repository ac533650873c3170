"""Adding the script to a project: rboot.py beside platformio.ini, and `extra_scripts` in its environments. No files."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from configparser import ConfigParser
from configparser import Error as IniError
from pathlib import Path

from ..errors import SettingError

SCRIPT = Path(__file__).parent / "files" / "rboot.py"
"""The script, which a project gets a copy of."""

PLATFORM = "espressif8266"
_OPTION = "extra_scripts"
_ITEMS = (f"pre:{SCRIPT.name}", f"post:{SCRIPT.name}")


def is_ours(script: str) -> bool:
    """Whether a project's rboot.py is a copy of the script, of any version."""
    return script.partition("\n")[0].endswith('Written by `rbootimg platformio init`; keep it as it is."""')


def add_script(text: str, environments: Collection[str] = ()) -> str:
    """Return platformio.ini with the script in `extra_scripts` of `environments`, by default of all for the ESP8266.

    Only the lines of that option change, and none if the script is there. Raises SettingError.
    """
    config = _parse(text)
    known = [section.removeprefix("env:") for section in config.sections() if section.startswith("env:")]
    if unknown := sorted({*environments} - {*known}):
        raise SettingError(f"unknown environment {unknown[0]!r}: expected one of {', '.join(known)}")
    chosen = [name for name in known if name in environments] or [name for name in known if _is_esp8266(config, name)]
    if not chosen:
        raise SettingError(f"no environment has platform = {PLATFORM}; select one with -e")
    for section in dict.fromkeys(_place(config, name, chosen) for name in chosen):
        missing = [item for item in _ITEMS if item not in _items(config, section)]
        if missing:
            text = _add_items(text, section, missing)
    return text


def _parse(text: str) -> ConfigParser:
    config = ConfigParser(interpolation=None, inline_comment_prefixes=("#", ";"))  # as PlatformIO's
    try:
        config.read_string(text)
    except IniError as error:
        raise SettingError(f"invalid: {' '.join(str(error).split())}") from None
    return config


def _sections(config: ConfigParser, environment: str) -> Iterator[str]:
    """The sections that an environment has options from, in PlatformIO's order of precedence."""
    queue, done = ["env", f"env:{environment}"], set()
    while queue:
        section = queue.pop()
        if section in done or not config.has_section(section):
            continue
        done.add(section)
        yield section
        queue += re.split(r"[\s,]+", config.get(section, "extends", fallback="").strip())


def _owner(config: ConfigParser, environment: str, option: str) -> str | None:
    """The section that an environment has an option from, None if it has none."""
    return next((each for each in _sections(config, environment) if config.has_option(each, option)), None)


def _is_esp8266(config: ConfigParser, environment: str) -> bool:
    section = _owner(config, environment, "platform")
    return section is not None and PLATFORM in config.get(section, "platform")


def _place(config: ConfigParser, environment: str, chosen: Collection[str]) -> str:
    """The section for `extra_scripts`: that which has them, else that which has the platform.

    It is the environment's own if others than those `chosen` have options from there.
    """
    own = f"env:{environment}"
    scripts = _owner(config, environment, _OPTION)
    section = scripts or _owner(config, environment, "platform") or own
    others = (each.removeprefix("env:") for each in config.sections() if each.startswith("env:"))
    if any(section in _sections(config, other) for other in others if other not in chosen):
        if scripts and scripts != own:
            raise SettingError(
                f"other environments have {_OPTION} of [{scripts}] too; give [{own}] an {_OPTION} of its own"
            )
        return own
    return section


def _items(config: ConfigParser, section: str) -> list[str]:
    """The scripts of a section; one without `pre:` or `post:` is run after the platform's."""
    value = config.get(section, _OPTION, fallback="")
    items = (item.strip() for item in (value.splitlines() if "\n" in value else value.split(", ")))
    return [item if item.startswith(("pre:", "post:")) else f"post:{item}" for item in items if item]


def _add_items(text: str, section: str, items: list[str]) -> str:
    """Return `text` with `items` at the end of the option in that section, or with the option at the section's end."""
    lines = text.splitlines()
    start = next(at for at, line in enumerate(lines) if line.split("]")[0].strip() == f"[{section}") + 1
    end = next((at for at in range(start, len(lines)) if lines[at].startswith("[")), len(lines))
    option = next((at for at in range(start, end) if re.match(rf"{_OPTION}\s*[=:]", lines[at], re.IGNORECASE)), None)
    added = [f"    {item}" for item in items]
    if option is None:
        at = _last_used(lines, start - 1, end) + 1
        lines[at:at] = [f"{_OPTION} =", *added]
    else:
        if ", " in lines[option]:  # PlatformIO splits a list at line breaks only, if it has one
            name, values = re.split(r"(?<=[=:])", lines[option], maxsplit=1)
            lines[option : option + 1] = [name, *(f"    {value.strip()}" for value in values.split(", "))]
            end += len(values.split(", "))
        after = next((at for at in range(option + 1, end) if re.match(r"[^\s#;]", lines[at])), end)
        at = _last_used(lines, option, after) + 1
        lines[at:at] = added
    return "\n".join(lines) + "\n"


def _last_used(lines: list[str], start: int, end: int) -> int:
    """The last of the lines start to end that is neither blank nor a comment; `start` if there is none."""
    return max((at for at in range(start, end) if re.match(r"\s*[^\s#;]", lines[at])), default=start)
