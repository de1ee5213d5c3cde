"""Which folder may import which: no folder imports one above it."""

import ast
from pathlib import Path

import astseg

ROOT = Path(astseg.__file__).parent
LAYERS = (
    ("_core",),
    ("model", "data"),
    ("evaluation",),
    ("visualization",),
    ("inference", "training"),
    ("authors", "hub", "paper", "doctor"),
    ("cli",),
)
LAYER_OF = {name: layer for layer, names in enumerate(LAYERS) for name in names}


def imports(file: Path) -> set[str]:
    """Return the folders of astseg that a file imports from, at any place in it."""
    nodes = ast.walk(ast.parse(file.read_text()))
    modules = {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
    return {module.split(".")[1] for module in modules if module.startswith("astseg.")}


def test_no_folder_imports_one_above_it() -> None:
    arrows = set()
    for file in ROOT.rglob("*.py"):
        own = file.relative_to(ROOT).parts[0].removesuffix(".py")
        if not own.startswith("__"):
            arrows |= {(own, other) for other in imports(file) if other != own}
    assert len(arrows) > 20
    assert {arrow for arrow in arrows if LAYER_OF[arrow[0]] <= LAYER_OF[arrow[1]]} == set()


def test_every_folder_has_a_layer() -> None:
    there = {path.stem for path in ROOT.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()}
    assert {name for name in there if not name.startswith("__")} == set(LAYER_OF)
