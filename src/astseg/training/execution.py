"""How the steps of a run are computed: in which precision, in how many parts, and whether compiled.

This changes what is learned only by rounding, except that batch normalization sees one part of a batch at a time.
"""

from dataclasses import dataclass

from astseg._core.settings_io import COUNT, check_choice, check_values
from astseg.training.precision import Precision


@dataclass(frozen=True)
class Execution:
    """How the steps of a run are computed.

    Raises:
        ValueError: there is no such precision, or the number of parts is below 1.
    """

    precision: Precision = "fp32"
    """The precision in which the networks compute; ``tf32`` concerns all products."""
    parts: int = 1
    """The number of parts in which each batch goes through the networks, one after the other; gradients are added up.
    The networks then need the memory of one part. There are at most as many parts as images."""
    compiled: bool = False
    """Whether each phase's loss is compiled by `torch.compile`, on a GPU as a CUDA graph (`training.compilation`)."""

    def __post_init__(self) -> None:
        check_values(self, parts=COUNT)
        check_choice("precision", self.precision, Precision)


PLAIN = Execution()
"""In single precision, each batch as a whole, without compiling."""
