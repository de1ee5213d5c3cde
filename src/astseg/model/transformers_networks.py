"""Reading networks of the transformers library from a folder or the model hub."""

from typing import Any

from astseg._core.errors import AstSegError


def read_network(kind: Any, source: str, problem: str, advice: str, **options: Any) -> tuple[Any, list[str]]:
    """Read a network.

    Args:
        kind: its class in transformers, which is slow to import.
        source: a folder with config.json and weights, or a name on the model hub.
        problem: what to say if it cannot be read, before the reason.
        advice: what to do then, as a sentence.
        options: for ``from_pretrained``.

    Returns:
        The network, and the names of the weights that were not found: transformers only warns and leaves them random.

    Raises:
        AstSegError: it cannot be read.
    """
    try:
        network, report = kind.from_pretrained(source, output_loading_info=True, **options)
    except Exception as error:  # missing or damaged files raise errors of several libraries
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise AstSegError(f"{problem}: {reason} {advice}") from error
    return network, list(report["missing_keys"])
