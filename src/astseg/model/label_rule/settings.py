"""The settings of the rule for labels, as saved in ``config.json``."""

from dataclasses import dataclass, fields

from astseg._core.settings_io import NOT_NEGATIVE, POSITIVE, REPETITIONS, Range, check_values
from astseg.model.rendering import MAX_SHADOW

NO_NOISE = "a label rule with a noise_multiple needs a static background, the only one whose noise is known"

SHADES = ("max_shade", "noise_shade")
"""The settings that are shares of the background's light."""


@dataclass(frozen=True)
class LabelRule:
    """How pixels are assigned to layers when an image is segmented.

    Backgrounds are reconstructed more exactly than objects, so their errors count more. For a model of slow features,
    an object's error is the Euclidean distance of a pixel's ground residual from the slot's vector, and the
    background's is the residual's length. Duplicates and halves are then compared by their median residuals, and edges
    do not count.

    Raises:
        ValueError: a value is negative, the likeness is 0, or a shade is 1 or more.
    """

    object_error: float = 4.0
    """The penalty on an object's log-weight per unit of its L1 error (0 to 3, equation 19)."""
    between_objects: bool = True
    """Whether errors and histograms also decide between objects. If not, all objects share one histogram and the mean
    of their errors, weighted by the slots' weights: an object shared by several slots is then not split by their
    colors."""
    background_error: float = 25.0
    """The penalty on the background's log-weight per unit of the L1 error of its best-fitting shade."""
    background_margin: float = 0.0
    """A constant penalty on the background's log-weight. It gives objects the pixels that they share with the
    background at their rims, and shadows too."""
    max_shade: float = MAX_SHADOW
    """The largest share of its light that the background may lose and still count as background, below 1. A larger
    share mistakes fewer shadows for objects, but more dark objects for shadows."""
    background_likeness: float = 0.0
    """A slot is dropped, as a shadow or an error of the background, if the median L1 distance of its pixels from the
    nearest shade of the background is below this. With slow features, the distance is the length of the bounded
    residual from the ground, which is below 1. If slots are split into parts, each part is judged by itself. 0 drops
    none, which is right where objects may have the background's color."""
    neighbor_pull: float = 4.0
    """The gain of a layer's log-weight per neighbor (of eight) that has the same color and belongs to the layer."""
    likeness: float = 0.1
    """The L1 distance of two colors at which a neighbor's pull has fallen to exp(-1)."""
    histogram_pull: float = 1.0
    """The gain of a layer's log-weight per unit of the log-likelihood of the pixel's color among the pixels that the
    layer owns already. It finds the rims of objects that have a pattern, or many colors."""
    duplicate_likeness: float = 0.15
    """Two touching slots whose median colors have an L1 distance below this, with no edge between them, are merged into
    one. 0 merges none."""
    division_likeness: float = 0.0
    """A slot is divided, as long as there are unused slots, if it has two halves whose median chromaticities (with slow
    features: residuals) have an L1 distance of at least this: it is taken to hold two objects. Slots are merged once
    more afterwards. 0 divides none."""
    border_exponent: float = 0.0
    """The two distances above are multiplied by a power of the share of the border that two slots, or halves, have in
    common (`slot_merging.alike_slots`); this is the exponent. With 0, it is enough that they touch."""
    min_pixels: int = 12
    """A slot that would own fewer pixels at the model's size, after merging, is dropped."""
    noise_multiple: float = 0.0
    """Only with a static background: a pixel is foreground if it differs from the background by more than this multiple
    of the noise, or by half as much where a slot owns it. All foreground is divided among the slots, and they own
    nothing else. 0: the slots alone find objects."""
    noise_shade: float = 0.0
    """The largest share of its light that a static background may lose without becoming foreground, below 1. It keeps
    cast shadows out of the foreground, but also objects that have a darker shade of the background's color. 0: all that
    is darker is foreground, which is right for cars on a road: they are as gray as the road."""
    split_parts: bool = False
    """Whether parts of a slot that do not touch become objects of their own, as long as there are unused slots. Parts
    of fewer than ``min_pixels`` are then dropped, as small slots are; in larger images they are dropped once more."""

    looks: int = 1
    """How often the network looks at an image. From the second look on it sees the background in place of the objects
    that it has found, and of the pixels around them. Unused slots take what it then finds: objects that attracted less
    attention than the others."""

    def __post_init__(self) -> None:
        ranges = {field.name: NOT_NEGATIVE for field in fields(self)}
        ranges |= {"likeness": POSITIVE, "looks": REPETITIONS, **dict.fromkeys(SHADES, Range(0, below=1))}
        check_values(self, **ranges)
