"""Directives that write the reference from the code, so that the two cannot differ.

{rboot-variables}        the construction variables of the SCons tool, by group
{rboot-messages}         the variables with the messages of its steps
{rboot-targets}          its targets
{rboot-builder} NAME     a builder: its arguments and docstring
{rboot-commands}         the commands of the command line, by group
{rboot-schema} FILE      the keys that a JSON Schema of rbootimg/schemas describes
{rboot-api}              in its content: names of the library, with their docstrings
"""

from __future__ import annotations

import argparse
import inspect
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

import rbootimg
from rbootimg.cli import parser
from rbootimg.scons import messages, targets, tool, variables

_SCHEMAS = Path(rbootimg.__file__).parent / "schemas"


def setup(app: Any) -> dict[str, bool]:
    for name, directive in (
        ("rboot-variables", _Variables),
        ("rboot-messages", _Messages),
        ("rboot-targets", _Targets),
        ("rboot-builder", _Builder),
        ("rboot-commands", _Commands),
        ("rboot-schema", _Schema),
        ("rboot-api", _Api),
    ):
        app.add_directive(name, directive)
    return {"parallel_read_safe": True}


class _Directive(SphinxDirective):
    """A directive whose content is Markdown that `markdown()` makes."""

    def run(self) -> list[nodes.Node]:
        return self.parse_text_to_nodes(self.markdown(), allow_section_headings=True)

    def markdown(self) -> str:
        raise NotImplementedError


class _Variables(_Directive):
    def markdown(self) -> str:
        return "\n\n".join(
            f"## {group}\n\n{_table(('variable', 'default', 'what it is'), map(_variable_row, rows))}"
            for group, rows in variables.VARIABLE_GROUPS.items()
        )


class _Messages(_Directive):
    def markdown(self) -> str:
        ours = ((name, message) for name, message in messages.MESSAGES.items() if name.startswith("RBOOT"))
        rows = (
            (_code(name), _code(f"{message.verb} {message.operand.replace('$_RBOOT_', '$')}"), _code(message.verbose))
            for name, message in ours
        )
        return _table(("variable", "short", "with `RBOOT_VERBOSE=1` (else the command)"), rows)


class _Targets(_Directive):
    def markdown(self) -> str:
        rows = ((_code(name), text) for name, text in targets.TARGETS)
        return _table(("`scons` …", "what it does"), rows)


class _Builder(_Directive):
    required_arguments = 1

    def markdown(self) -> str:
        name = self.arguments[0]
        method = tool.METHODS[name]
        _, *parameters = inspect.signature(method).parameters.values()
        positional = [
            f"{each.name}={each.default!r}" if each.default not in (each.empty, None) else each.name
            for each in parameters
            if each.kind is not each.VAR_KEYWORD
        ]
        return f"```python\nenv.{name}({', '.join(positional)}, **variables)\n```\n\n{_docstring(method)}"


class _Commands(_Directive):
    def markdown(self) -> str:
        return "\n\n".join(
            f"## {group}\n\n" + "\n\n".join(_command(name) for name in commands if name != "esptool2")
            for group, commands in parser.GROUPS.items()
        )


class _Schema(_Directive):
    required_arguments = 1

    def markdown(self) -> str:
        schema = json.loads((_SCHEMAS / self.arguments[0]).read_text(encoding="utf-8"))
        return _table(("key", "value", "what it is"), _schema_rows(schema, schema.get("$defs", {}), ""))


class _Api(_Directive):
    has_content = True

    def markdown(self) -> str:
        names = " ".join(self.content).split()
        return "```{eval-rst}\n" + "\n".join(map(_autodoc, names)) + "\n```"


def _autodoc(name: str) -> str:
    value = getattr(rbootimg, name)
    if not inspect.isclass(value):
        return f".. auto{'function' if callable(value) else 'data'}:: rbootimg.{name}\n"
    options = "" if issubclass(value, Exception) else "   :members:\n   :undoc-members:\n"
    return f".. autoclass:: rbootimg.{name}\n{options}"


def _command(name: str) -> str:
    command = parser.command_parser(name)
    formatter = command._get_formatter()  # argparse offers no other way to its arguments
    rows = [
        (_code(formatter._format_action_invocation(action)), _as_code(formatter._expand_help(action)))
        for action in command._actions
        if action.help != argparse.SUPPRESS and action.option_strings != ["-h", "--help"]
    ]
    usage = command.format_usage().removeprefix("usage: ")
    parts = [f"### rbootimg {name}", _as_code(command.description or ""), f"```text\n{usage}```"]
    if rows:
        parts.append(_table(("argument", "what it is"), rows))
    if command.epilog:
        parts.append(f"```text\n{command.epilog}\n```")
    return "\n\n".join(parts)


def _as_code(text: str) -> str:
    """Text of a help as Markdown: what Markdown would take for marks is code."""
    return re.sub(r"(?<!`)(--[a-z][-a-z0-9]*|\*\.[A-Z]+)(?![-\w`])", r"`\1`", text)


def _variable_row(variable: variables.Variable) -> tuple[str, ...]:
    only = " (SConstruct only)" if variable.in_sconstruct_only else ""
    return _code(variable.name), _code(variable.default), f"{variable.help}{only}"


def _schema_rows(schema: Mapping[str, Any], definitions: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, ...]]:
    required = schema.get("required", ())
    for key, referring in schema.get("properties", {}).items():
        value = definitions[referring["$ref"].rpartition("/")[2]] | referring if "$ref" in referring else referring
        name = f"{prefix}{key}"
        described = [value.get("description", value.get("title", ""))]
        if key in required:
            described.append("Required.")
        if "default" in value:
            described.append(f"Default: {_code(json.dumps(value['default'], ensure_ascii=False))}.")
        if value.get("examples"):
            described.append(f"Example: {_code(json.dumps(value['examples'][0], ensure_ascii=False))}.")
        yield _code(name), _kind(value), " ".join(described)
        inner = value.get("items", value)
        yield from _schema_rows(inner, definitions, f"{name}{'[]' * ('items' in value)}.")


def _kind(value: Mapping[str, Any]) -> str:
    if "const" in value:
        return _code(json.dumps(value["const"]))
    if "enum" in value:
        return " ".join(_code(json.dumps(each)) for each in value["enum"])
    for combined in ("oneOf", "anyOf"):
        if combined in value:
            return " or ".join(dict.fromkeys(_kind(each) for each in value[combined]))
    kind = value.get("type", "")
    return " or ".join(kind) if isinstance(kind, list) else str(kind)


def _table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    heads = tuple(heads)
    lines = (heads, ("---",) * len(heads), *rows)
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


def _code(text: str) -> str:
    return f"`{text}`" if text else ""


def _docstring(function: Any) -> str:
    """A docstring as Markdown: names of variables and of files in it are code already, or are made so."""
    return re.sub(r"(?<![`\w])(\$?RBOOT_\w+)", r"`\1`", inspect.getdoc(function) or "")
