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
    errors are the Euclidean distances of a pixel's ground residual from the slot's vector and, for the background,
    from 0; duplicates and halves are told by their median residuals, and no edge parts them.

    Raises:
        ValueError: a value is negative, the likeness is 0, or a shade is 1 or more.
    """

    object_error: float = 4.0
    """The penalty on an object's log-weight per unit of its L1 error (0 to 3, equation 19)."""
    between_objects: bool = True
    """Whether errors and histograms also decide between objects. If not, all objects get the mean of their errors, by
    weight, and one histogram, so that an object shared by several slots is not split by their colors."""
    background_error: float = 25.0
    """The penalty on the background's log-weight per unit of the L1 error of its best-fitting shade."""
    background_margin: float = 0.0
    """A constant penalty on the background's log-weight. It gives objects the pixels that they share with the
    background at their rims, and shadows too."""
    max_shade: float = MAX_SHADOW
    """The largest share of its light that the background may lose and still count as background, below 1. A larger
    share mistakes fewer shadows for objects, but more dark objects for shadows."""
    background_likeness: float = 0.0
    """A slot whose pixels have a median L1 distance below this from the nearest shade of the background is dropped: it
    is a shadow or a background error. 0 drops none, as is right where objects may have the background's color. With
    slow features it is the length of their bounded residual from the ground, below 1. If slots are split into parts,
    each part is judged by itself."""
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
    """A slot is taken to hold two objects, and divided while there are unused slots, if it has two halves whose median
    chromaticities (with slow features: residuals) have an L1 distance of at least this. Then slots are merged again.
    0 divides none."""
    border_exponent: float = 0.0
    """Both distances are multiplied by this power of the part of their borders that the two slots, or halves, have in
    common (`slot_merging.alike_slots`). 0: touching is enough."""
    min_pixels: int = 12
    """A slot that would own fewer pixels at the model's size, after merging, is dropped."""
    noise_multiple: float = 0.0
    """With a static background, what differs from it by more than its noise times this, or by half as much where a slot
    is, is divided among the slots, whatever else they own. 0: the slots alone find objects."""
    noise_shade: float = 0.0
    """The largest share of its light, below 1, that a static background may lose and still not differ by its noise:
    cast shadows are no foreground then, and neither are objects of the background's own color, if they are darker.
    0: all that is darker is foreground, as is right for cars on a road, which are as grey as it."""
    split_parts: bool = False
    """Whether parts of a slot that do not touch become objects of their own, as long as there are unused slots, and
    parts of fewer pixels than ``min_pixels`` are dropped like slots of so few, in larger images once more."""

    looks: int = 1
    """How often the network looks at an image. From the second time on it sees the background in place of what it has
    found, and nearby: slots that are still unused take what it finds then, which the others outshone."""

    def __post_init__(self) -> None:
        ranges = {field.name: NOT_NEGATIVE for field in fields(self)}
        ranges |= {"likeness": POSITIVE, "looks": REPETITIONS, **dict.fromkeys(SHADES, Range(0, below=1))}
        check_values(self, **ranges)
