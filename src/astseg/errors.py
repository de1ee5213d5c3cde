"""What a user's mistake raises: one error, and kinds of it of which a caller may want to say more."""


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
