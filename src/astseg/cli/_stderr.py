"""A stream of messages that outlives its reader: a closed terminal or pipe must not end a training of days."""

import io
import os
import sys


class LastingStream(io.TextIOWrapper):
    """A text stream to a file descriptor that writes to nowhere once its reader has gone.

    Args:
        descriptor: where to write.
        encoding: by default the locale's. Letters that it lacks appear as escapes.
    """

    def __init__(self, descriptor: int, encoding: str | None = None) -> None:
        raw = io.FileIO(descriptor, "w", closefd=False)
        super().__init__(io.BufferedWriter(raw), encoding, errors="backslashreplace", line_buffering=True)

    def write(self, text: str, /) -> int:
        """Write a text, if there is still somebody to read it."""
        try:
            return super().write(text)
        except OSError:
            self._give_up()
            return len(text)

    def flush(self) -> None:
        """Write what waits, if there is still somebody to read it."""
        try:
            super().flush()
        except OSError:
            self._give_up()

    def _give_up(self) -> None:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.fileno())
        os.close(nowhere)


def keep_stderr() -> None:
    """Let the program go on if standard error is closed, or closes later.

    If it is closed, the next file that is opened would take its number, and a library that warns would write into it.
    """
    if sys.stderr is None:
        while os.open(os.devnull, os.O_WRONLY) < 2:  # until the number of standard error is taken
            pass
    sys.stderr = LastingStream(2, getattr(sys.stderr, "encoding", None))
