"""The error for mistakes of the user, and subclasses to which a caller may want to add advice."""

from collections.abc import Iterable
from difflib import get_close_matches


class AstSegError(Exception):
    """A mistake that the user can correct: what was expected, what was found, and what to do about it.

    The command line prints only the message, without a traceback, and exits with code 2.
    """


class NonFiniteWeightsError(AstSegError):
    """Training has made the weights or the loss non-finite."""


class NonFiniteModelError(AstSegError):
    """The weights of a model that was read are not finite."""


class UnhealthyTrainingError(AstSegError):
    """Training was stopped because it does not go well, as was asked for."""


class DamagedCheckpointError(AstSegError):
    """A checkpoint is not as it was written."""


class RunExistsError(AstSegError):
    """The folder for a new run holds a run already."""


class OtherRunError(RunExistsError):
    """The folder holds another run than the requested one, so that it cannot be continued."""


class MemoryShortageError(AstSegError):
    """Training needs more memory than there is."""


class LostProcessError(AstSegError):
    """One of several processes that work together has ended."""


class NotPreparedError(AstSegError):
    """A path that is not a prepared data set."""


class InvalidRecipeError(AstSegError):
    """A file that is not a recipe."""


class RunNotFoundError(AstSegError):
    """A folder without a training run."""


class ResultsNotFoundError(AstSegError):
    """A folder without results."""


class ImagesNotFoundError(AstSegError):
    """The images of some results are not where they were."""


class TracksNeededError(AstSegError):
    """A form of results that needs objects followed from frame to frame, and they were not."""


class TruthNotFoundError(AstSegError):
    """Images of which nothing true is known."""


class ModelNotFoundError(AstSegError):
    """A name that no model has."""


def wrong_argument(expected: str, value: object) -> TypeError:
    """Return the error for an argument of a call that is of another kind than it should be.

    >>> str(wrong_argument("evaluate takes a split of a store, such as store['test']", [1]))
    "evaluate takes a split of a store, such as store['test'], not a list"
    """
    name = type(value).__name__
    return TypeError(f"{expected}, not {'an' if name[0].lower() in 'aeiou' else 'a'} {name}")


def unknown_name(kind: str, name: str, known: Iterable[str]) -> AstSegError:
    """Return the error for an unknown name, with the nearest known name and all of them.

    >>> str(unknown_name("preset", "clever", ["demo", "clevr"]))
    "There is no preset 'clever'. Did you mean 'clevr'? There are: demo, clevr."
    """
    names = list(known)
    nearest = "".join(f" Did you mean '{one}'?" for one in get_close_matches(name.lower(), names, n=1))
    return AstSegError(f"There is no {kind} '{name}'.{nearest} There are: {', '.join(names)}.")
