"""Descriptions of how segmentations are made and scored, in words; they stand beside every score."""

from astseg.data.store import Split
from astseg.model.ast_seg import AstSeg
from astseg.model.label_rule.settings import LabelRule

LABEL_SCORES = (
    "mIoU: the background counts as a label; labels are matched one to one so that the sum of IoU is largest, "
    "and the sum is divided by the number of pairs with a pixel on either side. "
    "ARI-FG: adjusted Rand index over the pixels of true objects, where a predicted background is a cluster "
    "like any other; 1 where there is no object. ARI: over all pixels. "
    "MSC-FG: best IoU of each true object with any predicted label, all objects alike; MSC: the background too; "
    "scaled SC: objects by area; 0 where there is nothing to cover."
)
PROTOCOL = (
    f"Means over images; every image of the split counts once. {LABEL_SCORES} "
    "MSE: squared error in [0, 1], summed over channels and pixels."
)
LARGEST_WEIGHT_RULE = "Labels: each pixel to the layer with the largest weight, as in the paper."


def describe_protocol(model: AstSeg, split: Split, use_label_rule: bool) -> str:
    """Return how a model is scored on a split, in words."""
    height, width = split.images.shape[1:3]
    rule = model.label_rule if use_label_rule else None
    size = f"{len(split)} images of the split '{split.name}' at {height} x {width} pixels."
    if (height, width) != model.image_size:
        own_height, own_width = model.image_size
        sharpened = (
            ", the labels by the images' own edges and colors"
            if rule and height * width > own_height * own_width
            else ""
        )
        size += (
            f" The model saw them resized to {own_height} x {own_width}; "
            f"its labels and its reconstruction were resized back{sharpened}."
        )
    if split.ignored_label is not None:
        size += f" Pixels whose true label is {split.ignored_label} are not scored."
    return f"{size} {describe_labels(model, use_label_rule)} {PROTOCOL}"


def describe_labels(model: AstSeg, use_label_rule: bool) -> str:
    """Return a sentence on how a model's labels are made."""
    rule = model.label_rule if use_label_rule else None
    return LARGEST_WEIGHT_RULE if rule is None else _describe_rule(rule, model.slow_features is not None)


def _describe_rule(rule: LabelRule, by_features: bool) -> str:
    """Describe a label rule in a sentence: what decides about each pixel, then the steps that follow, in order."""
    if by_features:
        shown, behind, compared, edges, divided = "the ground", "the ground", "features", "", ""
    else:
        shown, behind, compared, edges = "a shade", "the background", "colors", " with no edge between them"
        divided = " in chromaticity"
    likeness = f"whose median pixel is within {rule.background_likeness:g} of {shown}"
    border = ""
    if rule.border_exponent:
        border = f" times the part of the border in common to the power of {rule.border_exponent:g}"
    steps = [_describe_errors(rule, by_features), _describe_neighbors(rule)]
    if rule.background_likeness and not rule.split_parts:
        steps.append(f"slots dropped {likeness}")
    if rule.duplicate_likeness:
        limit = f"{rule.duplicate_likeness:g}{border}"
        steps.append(f"touching slots merged whose {compared} differ by less than {limit}{edges}")
    steps.append(f"slots of fewer than {rule.min_pixels} pixels dropped")
    if rule.division_likeness:
        steps.append(f"slots divided whose halves differ{divided} by {rule.division_likeness:g}{border} or more")
    if rule.noise_multiple:
        shade = f", in a shade of up to {rule.noise_shade:.0%}," if rule.noise_shade else ""
        noise = f"{rule.noise_multiple:g} times its noise"
        steps.append(f"all that differs from the background{shade} by {noise} given to slots")
    if rule.split_parts:
        steps.append("parts of a slot that do not touch made objects of their own")
    if rule.split_parts and rule.background_likeness:
        steps.append(f"but for those {likeness}")
    if rule.looks > 1:
        times = "once more" if rule.looks == 2 else f"{rule.looks - 1} times more"
        steps.append(f"and all of it {times} for the unused slots, with {behind} in place of what has been found")
    return f"Labels: each pixel to the layer with the largest weight, {', '.join(steps)}. The paper does none of this."


def _describe_errors(rule: LabelRule, by_features: bool) -> str:
    """Describe how much the errors of the layers count."""
    errors = "distances in slow features" if by_features else "errors"
    terms = [
        f"{rule.object_error:g} for an object's",
        f"{rule.background_error:g} for the background's",
        f"margin {rule.background_margin:g}",
    ]
    if not by_features:
        terms.append(f"in a shade of up to {rule.max_shade:.0%}")
    if not rule.between_objects:
        terms.append("between objects the weights alone")
    return f"given the layers' {errors} at the pixel ({', '.join(terms)})"


def _describe_neighbors(rule: LabelRule) -> str:
    """Describe how much a pixel's neighbors and the colors of the layers count."""
    neighbors = f"its neighbors ({rule.neighbor_pull:g} for each of the same color, down to 1/e at {rule.likeness:g})"
    histograms = f" and the colors that each layer owns in the image ({rule.histogram_pull:g})"
    return neighbors + (histograms if rule.histogram_pull else "")
