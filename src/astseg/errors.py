"""The one error that a user's mistake raises."""


class AstSegError(Exception):
    """Something the user can put right: what was expected, what came, and what to do about it.

    The command line prints the message alone, without a traceback, and exits with code 2.
    The library raises it like any other exception.
    """


class NonFiniteWeightsError(AstSegError):
    """A training whose weights are no numbers any more."""
