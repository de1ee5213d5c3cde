import signal
import subprocess
import sys

import pytest

INTERRUPTED_IMPORT = """
import os, signal, sys

class Interruption:
    def find_spec(self, name, *_):
        if name == "{module}":
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interruption())
signal.signal(signal.SIGINT, {handler})
sys.argv = ["astseg", "presets"]
from astseg.__main__ import main

main()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="has no such signals")
@pytest.mark.parametrize(
    ("module", "handler", "status", "message"),
    [
        ("typer", "signal.default_int_handler", -signal.SIGINT, ""),
        ("astseg.training.presets", "signal.default_int_handler", 130, "Interrupted: Stopped.\n"),
        ("typer", "signal.SIG_IGN", 0, ""),
        ("astseg.training.presets", "signal.SIG_IGN", 0, ""),
    ],
)
def test_ctrl_c_while_modules_are_imported_needs_no_traceback(
    module: str, handler: str, status: int, message: str
) -> None:
    """The signal comes when this module is imported: before the command line is there, and by a command."""
    code = INTERRUPTED_IMPORT.format(module=module, handler=handler)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (status, message)
