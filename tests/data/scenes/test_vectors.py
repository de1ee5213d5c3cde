import numpy as np
import pytest
import torch

from astseg.data.scenes import vectors

A, B = (1.0, -2.0, 3.5), (0.25, 4.0, -1.0)


def test_arithmetic_agrees_with_numpy() -> None:
    a, b = np.array(A), np.array(B)
    assert vectors.add(A, B) == pytest.approx(a + b)
    assert vectors.subtract(A, B) == pytest.approx(a - b)
    assert vectors.scale(A, -2.0) == pytest.approx(-2 * a)
    assert vectors.inner(A, B) == pytest.approx(a @ b)
    assert vectors.cross(A, B) == pytest.approx(np.cross(a, b))
    assert vectors.length(A) == pytest.approx(np.linalg.norm(a))
    assert vectors.unit(A) == pytest.approx(a / np.linalg.norm(a))


def test_tensor_products_agree_with_matrix_products() -> None:
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(2, 3, 5, 7, generator=generator)
    torch.testing.assert_close(vectors.dot(a, b), torch.einsum("ijk,ijk->jk", a, b))
    matrix = torch.randn(3, 3, 5, 1, generator=generator)
    torch.testing.assert_close(vectors.transform(matrix, a), torch.einsum("abj,bjk->ajk", matrix[..., 0], a))


def test_normalise_gives_length_one_and_keeps_zero_finite() -> None:
    a = torch.tensor([[3.0, 0.0], [0.0, 0.0], [4.0, 0.0]])
    torch.testing.assert_close(vectors.normalize(a), torch.tensor([[0.6, 0.0], [0.0, 0.0], [0.8, 0.0]]))
