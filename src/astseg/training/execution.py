"""How the steps of a run are computed: in which precision, in how many parts, and whether compiled.

What is learned stays the same up to rounding, but for batch normalization, which sees one part at a time.
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
    """What the networks compute in; ``tf32`` concerns all products."""
    parts: int = 1
    """Each batch goes through the networks in this many parts, one after the other, whose gradients are added up. The
    networks then need the memory of one part. There are no more parts than images."""
    compiled: bool = False
    """Whether each phase's loss is compiled by `torch.compile`, on a GPU as a CUDA graph (`training.compilation`)."""

    def __post_init__(self) -> None:
        check_values(self, parts=COUNT)
        check_choice("precision", self.precision, Precision)


PLAIN = Execution()
"""In single precision, each batch as a whole, without compiling."""
