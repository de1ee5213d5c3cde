"""What the documentation tells people to type is valid: commands parse, make targets exist, snippets run."""

import ast
import re
import shlex
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import typer

from astseg.cli import app

ROOT = Path(__file__).parents[1]
RUNNABLE_PAGES = (
    "README.md",
    "docs/architecture.md",
    "docs/onnx.md",
    "docs/research.md",
    "docs/scaling.md",
    "docs/scenes.md",
    "docs/tracking.md",
)
PAGES_WITH_FILES = ("docs/authors-checkpoints.md",)
"""Pages whose snippets say which file the reader must bring."""
PAGES = sorted([ROOT / "README.md", *ROOT.glob("CONTRIBUTING.md"), *(ROOT / "docs").rglob("*.md")])


class Block(NamedTuple):
    """A fenced block of a page."""

    language: str
    text: str


def blocks(text: str) -> list[Block]:
    found = re.findall(r"^ *```([\w-]*)\n(.*?)^ *```$", text, re.MULTILINE | re.DOTALL)
    return [Block(language, content) for language, content in found]


def command_lines(text: str) -> list[str]:
    """The lines of a page's shell blocks, continued ones joined, without prompts and comments."""
    shell = [block.text for block in blocks(text) if block.language in ("", "sh", "bash", "shell", "console")]
    joined = "\n".join(shell).replace("\\\n", " ")
    lines = (line.strip().removeprefix("$ ").strip() for line in joined.splitlines())
    return [" ".join(shlex.split(line, comments=True)) for line in lines if line.startswith(("astseg", "make"))]


def parse(line: str) -> None:
    """Parse a command as the command line would, without running it; raise typer's error if it is invalid."""
    words = shlex.split(line)[1:]
    command: Any = typer.main.get_command(app)
    if words == ["--help"] or words == ["COMMAND", "--help"]:
        return
    while hasattr(command, "commands"):
        before = {option: parameter for parameter in command.params for option in parameter.opts}
        while words[0] in before:  # options of the program itself
            parameter = before[words.pop(0)]
            del words[: 0 if parameter.is_flag else 1]
        name = words.pop(0)
        assert name in command.commands, f"'{line}' names an unknown command: {name}"
        command = command.commands[name]
    if words != ["--help"]:
        command.make_context(command.name, words)


def options(command: Any) -> set[str]:
    """All options of a command and the commands in it."""
    own = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    return own.union(*(options(other) for other in getattr(command, "commands", {}).values()))


COMMANDS = [
    (page.relative_to(ROOT).as_posix(), line) for page in PAGES for line in command_lines(page.read_text("utf-8"))
]
SNIPPETS = [
    (page.relative_to(ROOT).as_posix(), block.text)
    for page in PAGES
    for block in blocks(page.read_text("utf-8"))
    if block.language == "python"
]


@pytest.mark.parametrize(("page", "line"), COMMANDS)
def test_commands_are_valid(page: str, line: str) -> None:
    if line.startswith("make"):
        targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        assert next(word for word in line.split()[1:] if "=" not in word) in targets
    else:
        parse(line)


def test_the_readme_names_the_first_commands() -> None:
    lines = command_lines((ROOT / "README.md").read_text("utf-8"))
    for beginning in ("make demo", "make test", "astseg train", "astseg segment"):
        assert any(line.startswith(beginning) for line in lines)


@pytest.mark.parametrize(("page", "code"), [snippet for snippet in SNIPPETS if snippet[0] in RUNNABLE_PAGES])
def test_snippets_run(page: str, code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As printed, in an empty folder; ``if __name__ == "__main__"`` is left out."""
    monkeypatch.chdir(tmp_path)
    exec(compile(code, page, "exec"), {"__name__": "pasted"})


def test_every_snippet_runs_or_says_what_it_needs() -> None:
    assert {page for page, _ in SNIPPETS} == {*RUNNABLE_PAGES, *PAGES_WITH_FILES}
    for page, code in SNIPPETS:
        assert page not in PAGES_WITH_FILES or "# checkpoint.pth: " in code


@pytest.mark.parametrize(("page", "code"), SNIPPETS)
def test_what_snippets_import_is_there(page: str, code: str) -> None:
    """On the other pages too, whose snippets need files of the reader."""
    imports: list[ast.stmt] = [
        node for node in ast.parse(code, page).body if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    exec(compile(ast.Module(imports, []), page, "exec"), {})


class TestReadingPages:
    def test_lines(self) -> None:
        text = "```\n$ astseg a b \\\n   --c   # why\nls\nmake demo\n```\n```python\nastseg = 1\n```\n"
        assert command_lines(text) == ["astseg a b --c", "make demo"]
        assert blocks(text)[1] == Block("python", "astseg = 1\n")

    @pytest.mark.parametrize(
        "line", ["astseg nonsense", "astseg train x --nonsense", "astseg train x --steps many", "astseg segment model"]
    )
    def test_wrong_commands_are_found(self, line: str) -> None:
        with pytest.raises(Exception, match=r"nonsense|valid integer|[Mm]issing"):
            parse(line)


@pytest.mark.parametrize("page", [page for page in PAGES if "lab" not in page.parts], ids=lambda page: page.name)
def test_options_in_the_text_exist(page: Path) -> None:
    text = re.sub(r"^ *```.*?^ *```$", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    named = {
        option for code in re.findall(r"`[^`\n]+`", text) for option in re.findall(r"(?<![\w-])--[a-z][a-z-]*", code)
    }
    known = options(typer.main.get_command(app)) | {"--help", "--beside", "--min-lines"}
    assert named <= known, named - known
