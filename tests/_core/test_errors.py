"""Only the command line mentions its commands and options; the library does not."""

import ast
import re
from pathlib import Path

import astseg
from astseg.cli import COMMANDS

ROOT = Path(astseg.__file__).parent
OF_OTHER_PROGRAMS = {"--short", "--porcelain", "--untracked-files=no"}
"""Options of git."""


def test_only_the_command_line_names_its_commands_and_options() -> None:
    commands = "|".join([command.__name__.replace("_", "-") for command in COMMANDS] + ["data"])
    files = [file for file in ROOT.rglob("*.py") if file.relative_to(ROOT).parts[0] != "cli"]
    assert len(files) > 50
    nodes = [(file.name, node) for file in files for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))]
    texts = [(name, node.value) for name, node in nodes if isinstance(node, ast.Constant) and type(node.value) is str]
    found = [(name, text) for name, text in texts if re.search(rf"(?<![\w-])--[a-z]|astseg(``)? ({commands})\b", text)]
    assert [(name, text) for name, text in found if text not in OF_OTHER_PROGRAMS] == []
    assert {text for _, text in found} == OF_OTHER_PROGRAMS
