"""Labels and scores do not depend on how the work is divided."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from astseg.data.store import Bytes, Split
from astseg.evaluation.evaluator import Evaluation, evaluate
from astseg.model.ast_seg import AstSeg
from astseg.training.small_recipes import cpu_recipe

SIDE, COUNT = 32, 11


@pytest.fixture
def model() -> AstSeg:
    """A model in which slots own some pixels by chance."""
    torch.manual_seed(0)
    model = AstSeg(cpu_recipe((SIDE, SIDE), 3).architecture)
    with torch.no_grad():
        model.background_log_activation.fill_(-1)
    return model


@pytest.fixture
def split() -> Split:
    random = np.random.default_rng(0)
    masks = random.integers(0, 4, (COUNT, 4, 4), np.uint8).repeat(8, 1).repeat(8, 2)
    images: Bytes = np.clip(60 * masks[..., None] + random.integers(0, 40, (COUNT, SIDE, SIDE, 3)), 0, 255).astype(
        np.uint8
    )
    return Split("test", images, masks)


@pytest.fixture
def _threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def scores(evaluation: Evaluation) -> dict[str, np.ndarray]:
    """All scores, an array of one value per image each."""
    named = {**vars(evaluation.scores), "mse": evaluation.mse, "objects": evaluation.objects}
    return {name: value for name, value in named.items() if value is not None}


@pytest.mark.usefixtures("_threads")
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("batch_size", [1, 4, COUNT])
def test_whatever_batches_and_threads(model: AstSeg, split: Split, batch_size: int, threads: int) -> None:
    torch.set_num_threads(1)
    expected = scores(evaluate(model, split, batch_size=COUNT))
    assert {"miou", "ari_fg", "mse"} <= expected.keys()
    assert len(np.unique(expected["miou"])) == COUNT
    torch.set_num_threads(threads)
    found = scores(evaluate(model, split, batch_size=batch_size))
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-5, err_msg=name)


@pytest.mark.usefixtures("_threads")
def test_labels_whatever_order_batches_and_threads(model: AstSeg, split: Split) -> None:
    torch.set_num_threads(1)
    expected = model.segment(split.images).labels
    assert np.unique(expected.numpy()).tolist() == [0, 1, 2, 3]
    order = np.random.default_rng(1).permutation(COUNT)
    for threads in (1, 2):
        torch.set_num_threads(threads)
        assert torch.equal(model.segment(split.images[order]).labels, expected[order])
        for index in range(COUNT):
            assert torch.equal(model.segment(split.images[index : index + 1]).labels[0], expected[index])
