"""The program: ``astseg``, or ``python -m astseg``."""

import signal


def main() -> None:
    """Run the command line; until it is there to answer Ctrl-C, this ends the program without a traceback."""
    interruptible = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if interruptible:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from astseg.cli import main as run

    if interruptible:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    run()


if __name__ == "__main__":
    main()
