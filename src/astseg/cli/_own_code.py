"""Python files of the user's own, run before a command for the networks that they register."""

import sys
import traceback
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

from astseg._core.errors import AstSegError


def run_file(path: Path) -> None:
    """Run a Python file as a module, which may import its neighbors.

    Raises:
        AstSegError: there is no such Python file, or it fails.
    """
    spec = spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise AstSegError(f"There is no Python file {path}. Give one that calls astseg.register_network.")
    module = module_from_spec(spec)
    sys.path.insert(0, str(path.resolve().parent))
    sys.modules[path.stem] = module  # for classes that look for their module, such as dataclasses
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename != __file__]
        own = [frame for frame in frames if not frame.filename.startswith("<frozen")]  # none, if it cannot be parsed
        where = f" ({own[-1].filename}, line {own[-1].lineno})" if own else ""
        raise AstSegError(f"{path} fails: {type(error).__name__}: {error}{where}.") from error
