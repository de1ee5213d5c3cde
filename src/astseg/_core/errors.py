"""What a user's mistake raises: one error, and kinds of it of which a caller may want to say more."""

from collections.abc import Iterable
from difflib import get_close_matches


class AstSegError(Exception):
    """Something the user can put right: what was expected, what came, and what to do about it.

    The command line prints the message alone, without a traceback, and exits with code 2.
    The library raises it like any other exception.
    """


class NonFiniteWeightsError(AstSegError):
    """A training whose weights are no numbers any more."""


class RunExistsError(AstSegError):
    """A folder for a new run holds one already."""


class OtherRunError(RunExistsError):
    """The run that a folder holds is another one than was asked for, so that it cannot be gone on with."""


class MemoryShortageError(AstSegError):
    """A training that takes more memory than there is."""


class NotPreparedError(AstSegError):
    """Something that is no prepared data set."""


def unknown_name(kind: str, name: str, known: Iterable[str]) -> AstSegError:
    """Return the error for a name that nothing has: what is nearest to it, and all that there is.

    >>> str(unknown_name("preset", "clever", ["demo", "clevr"]))
    "There is no preset 'clever'. Did you mean 'clevr'? There are: demo, clevr."
    """
    names = list(known)
    nearest = "".join(f" Did you mean '{one}'?" for one in get_close_matches(name.lower(), names, n=1))
    return AstSegError(f"There is no {kind} '{name}'.{nearest} There are: {', '.join(names)}.")
