"""The error for mistakes of the user, and subclasses to which a caller may want to add advice."""

from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path


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


class PresetNotFoundError(AstSegError):
    """A name that no preset has."""


class UnknownNetworkError(AstSegError):
    """A network of the user's own that is not registered."""


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


def naming(error: AstSegError, path: Path, called: str) -> AstSegError:
    """Return an error that names a path: the same if it does already, or else one that begins with what it is called.

    >>> str(naming(AstSegError("is empty."), Path("a.png"), "The mask a.png"))
    'The mask a.png is empty.'
    """
    return error if str(path) in str(error) else AstSegError(f"{called} {error}")


def describe_mistake(error: Exception) -> str:
    """Return what is wrong with the content of a file, as a clause; of a `KeyError`, what is missing.

    What Python says of a value that it cannot use as the program does, such as a number as a list, tells nobody else
    anything.

    >>> describe_mistake(KeyError("images")), describe_mistake(ValueError("it is empty"))
    ("there is no 'images'", 'it is empty')
    >>> describe_mistake(TypeError("'int' object is not subscriptable"))
    'a value of another kind than is expected'
    """
    if isinstance(error, KeyError):
        return f"there is no {error}"
    if isinstance(error, OverflowError):
        return "a number that is too large"
    if isinstance(error, AttributeError | IndexError | TypeError):
        return "a value of another kind than is expected"
    return str(error)


MAX_LISTED_NAMES = 20
"""More names are not listed; the nearest ones are."""


def unknown_name(kind: str, name: str, known: Iterable[str], error: type[AstSegError] = AstSegError) -> AstSegError:
    """Return the error for an unknown name, with the nearest known name and all of them, or the nearest of many.

    Args:
        kind: what the name is of.
        name: the name.
        known: the names that there are.
        error: the type of the error, to which a caller may want to add advice.

    >>> str(unknown_name("format", "cooc", ["coco", "yolo"]))
    "There is no format 'cooc'. Did you mean 'coco'? There are: coco, yolo."
    >>> str(unknown_name("preset", "table 70", [f"table-{n}" for n in range(99)]))
    "There is no preset 'table 70'. Did you mean 'table-70', 'table-7' or 'table-0'? There are 99."
    """
    names = list(known)
    many = len(names) > MAX_LISTED_NAMES
    *others, last = [f"'{one}'" for one in get_close_matches(str(name).lower(), names, n=3 if many else 1)] or [""]
    meant = f" Did you mean {', '.join(others)}{' or ' if others else ''}{last}?" if last else ""
    there = f" There are {len(names)}." if many else f" There are: {', '.join(names)}."
    return error(f"There is no {kind} '{name}'.{meant}{there}")
