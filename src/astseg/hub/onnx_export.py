"""Export a trained model as a graph in the ONNX format, which runs without torch and without astseg.

The graph holds the networks, the sampling of glimpses and the label rule. It takes any number of images of the model's
own size, and gives what `Segmentation` holds.
"""

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from astseg import __version__
from astseg._core.atomic_io import atomic_write
from astseg._core.errors import AstSegError
from astseg.model.ast_seg import AstSeg
from astseg.model.segmentation import Segmentation, evaluation_mode, segmentation_of, weigh_layers

OPSET = 20
"""The first version of ONNX's operators that can place glimpses (GridSample, by its present names)."""
INPUT = "images"
OUTPUTS = tuple(field.name for field in fields(Segmentation))
BATCH = "N"
PACKAGES = ("onnx", "onnx_ir", "onnxscript")


class SegmentationGraph(nn.Module):
    """What is exported: a model with its label rule, at the model's own size."""

    def __init__(self, model: AstSeg) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> tuple[Tensor, ...]:
        """Return the fields of the `Segmentation` of images in [0, 1], in their order."""
        weights, latents, _ = weigh_layers(self.model, images, self.model.label_rule, paint_background=False)
        found = segmentation_of(weights.argmax(1), latents)
        return tuple(getattr(found, name) for name in OUTPUTS)


def export_onnx(model: AstSeg, out: Path, name: str) -> None:
    """Write a model as an ONNX file.

    The input ``images`` is N x 3 x H x W in [0, 1], of single precision and of the model's own size; N is free. The
    outputs have the names and shapes of the fields of `Segmentation`. The file's metadata tell ``model``, ``astseg``
    (the version), ``image_size`` (height x width) and ``num_slots``.

    Args:
        model: a model of colors.
        out: the file to write, whose name ends in .onnx; an older one is replaced.
        name: the name of the model, for the metadata.

    Raises:
        AstSegError: the packages that write ONNX are not installed, the model has parts that ONNX lacks, or the file
            cannot be written.
    """
    check_onnx(out)
    _check_operators(model)
    height, width = model.image_size
    with atomic_write(out, follow_link=True) as partial:
        program = _translate(model)
        program.model.producer_name, program.model.producer_version = "astseg", __version__
        program.model.metadata_props.update(
            model=name, astseg=__version__, image_size=f"{height}x{width}", num_slots=str(model.num_slots)
        )
        program.save(partial)


def check_onnx(out: Path) -> None:
    """Raise if an ONNX file cannot be written, which takes a while.

    Raises:
        AstSegError: a package is not installed, or the file has the name of something else.
    """
    if missing := [package for package in PACKAGES if find_spec(package) is None]:
        raise AstSegError(f"ONNX files need more packages ({', '.join(missing)}): pip install 'astseg[onnx]'.")
    if out.suffix != ".onnx":
        raise AstSegError(f"The name of an ONNX file should end in .onnx, not '{out.name}'.")


def _check_operators(model: AstSeg) -> None:
    """Raise if a model has a part that ONNX has no operator for.

    Raises:
        AstSegError: it has.
    """
    if model.architecture.slow_features is not None:
        raise AstSegError(
            "A model that tells objects by textures cannot be exported to ONNX, which lacks the Cholesky factors that "
            "the ground of each image is fitted with. Use the model in astseg, or train one that tells them by colors."
        )
    rule = model.label_rule
    if rule is not None and (rule.split_parts or rule.division_likeness or rule.noise_multiple):
        raise AstSegError(
            "A model whose label rule looks for connected pieces cannot be exported to ONNX, which cannot find them. "
            "Use the model in astseg, or give it a label rule with split_parts off, and with a division_likeness and a "
            "noise_multiple of 0."
        )
    if rule is not None and rule.looks > 1:
        raise AstSegError(
            "A model whose label rule looks at an image more than once cannot be exported to ONNX. Use the model in "
            "astseg, or give it a label rule with 1 for looks."
        )


def _translate(model: AstSeg) -> "torch.onnx.ONNXProgram":
    images = torch.zeros(2, 3, *model.image_size, device=model.background_log_activation.device)
    with evaluation_mode(model), torch.no_grad(), _silence():
        # In two steps: the second one alone would silently fix the number of images where the first one fails.
        graph = torch.export.export(SegmentationGraph(model), (images,), dynamic_shapes=({0: torch.export.Dim(BATCH)},))
        program = torch.onnx.export(
            graph,
            input_names=[INPUT],
            output_names=OUTPUTS,
            opset_version=OPSET,
            custom_translation_table=_translations(),
            optimize=False,
            verbose=False,
        )
    assert program is not None
    _tidy(program.model)
    shape: Any = program.model.graph.inputs[0].shape
    program.rename_axes({shape[0]: BATCH})
    return program


def _tidy(graph: Any) -> None:
    """Fold the constants of a graph, and take out what is there twice or for nothing.

    The exporter's own optimizer also looks for hundreds of patterns, which takes half of the export; onnxruntime looks
    for its own when it opens a file.
    """
    from onnx_ir.passes.common import (
        CommonSubexpressionEliminationPass,
        IdentityEliminationPass,
        LiftConstantsToInitializersPass,
        RemoveUnusedNodesPass,
    )
    from onnxscript.optimizer import fold_constants

    fold_constants(graph)
    for tidy in (
        IdentityEliminationPass(),
        CommonSubexpressionEliminationPass(),
        RemoveUnusedNodesPass(),
        LiftConstantsToInitializersPass(),
    ):
        tidy(graph)


def _translations() -> dict[Callable[..., Any], Callable[..., Any]]:
    """Return what torch's exporter lacks, as graphs of ONNX's operators."""
    from onnxscript import opset20

    op: Any = opset20  # its signatures have no place for numbers

    def nanmedian(values: Any, dim: int) -> tuple[Any, Any]:
        """Of an even count the lower of the two in the middle, of none NaN."""
        axes = op.Constant(value_ints=[dim])
        absent = op.IsNaN(values)
        counts = op.ReduceSum(op.Cast(op.Not(absent), to=7), axes)  # 7: int64
        size = op.Gather(op.Shape(values), axes)
        rising, places = op.TopK(op.Where(absent, float("inf"), values), size, axis=dim, largest=0)
        middle = op.Div(op.Max(op.Sub(counts, 1), 0), 2)
        medians = op.Where(op.Equal(counts, 0), float("nan"), op.GatherElements(rising, middle, axis=dim))
        return op.Squeeze(medians, axes), op.Squeeze(op.GatherElements(places, middle, axis=dim), axes)

    def sigmoid(values: Any) -> Any:
        """By its definition: onnxruntime's own is 0 from -18 on, and the label rule takes the logarithm of a mask."""
        return op.Reciprocal(op.Add(op.Exp(op.Neg(values)), 1.0))

    return {torch.ops.aten.nanmedian.dim: nanmedian, torch.ops.aten.sigmoid.default: sigmoid}


@contextmanager
def _silence() -> Iterator[None]:
    """Keep torch's exporter from warning of what no model has, such as the operators of torchvision."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
