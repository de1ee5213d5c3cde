"""Vectors in space: triples of Python floats for descriptions, tensors whose first axis is (x, y, z) for rays.

Python floats and these element-wise tensor operations are rounded exactly as IEEE 754 prescribes, on every machine.
Matrix products and sums over an axis are not: the library chooses their order of summation.
"""

import math
from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

Vector: TypeAlias = tuple[float, float, float]


def add(a: Vector, b: Vector) -> Vector:
    """Return a + b."""
    return a[0] + b[0], a[1] + b[1], a[2] + b[2]


def subtract(a: Vector, b: Vector) -> Vector:
    """Return a - b."""
    return a[0] - b[0], a[1] - b[1], a[2] - b[2]


def scale(a: Vector, factor: float) -> Vector:
    """Return a times a number."""
    return a[0] * factor, a[1] * factor, a[2] * factor


def inner(a: Vector, b: Vector) -> float:
    """Return the inner product."""
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def cross(a: Vector, b: Vector) -> Vector:
    """Return the vector product."""
    return a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]


def length(a: Vector) -> float:
    """Return the Euclidean length."""
    return math.sqrt(inner(a, a))


def unit(a: Vector) -> Vector:
    """Return the vector of length one in the direction of a."""
    return scale(a, 1 / length(a))


def dot(a: Float[Tensor, "3 *#rays"], b: Float[Tensor, "3 *#rays"]) -> Float[Tensor, "*rays"]:
    """Return inner products along the first axis, always summed as (x + y) + z."""
    product = a * b
    return product[0] + product[1] + product[2]


def normalize(a: Float[Tensor, "3 *rays"]) -> Float[Tensor, "3 *rays"]:
    """Scale vectors to length one; vectors near zero stay near zero."""
    return a / torch.sqrt(dot(a, a)).clamp(min=1e-12)


def transform(matrix: Float[Tensor, "3 3 *#rays"], vector: Float[Tensor, "3 *#rays"]) -> Float[Tensor, "3 *rays"]:
    """Multiply matrices by vectors along the first axes, always summed from the first column on."""
    return matrix[:, 0] * vector[0] + matrix[:, 1] * vector[1] + matrix[:, 2] * vector[2]
