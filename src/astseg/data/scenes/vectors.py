"""Vectors in space: triples of Python floats to describe scenes, tensors whose first axis is (x, y, z) for rays.

Python's floats and these element-wise tensor operations are rounded exactly as IEEE 754 says, on every machine, which
is why neither matrix products nor sums over an axis are used: their order of summation is the library's choice.
"""

import math
from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

Vector: TypeAlias = tuple[float, float, float]

UP: Vector = (0.0, 0.0, 1.0)


def add(a: Vector, b: Vector) -> Vector:
    """A + b."""
    return a[0] + b[0], a[1] + b[1], a[2] + b[2]


def subtract(a: Vector, b: Vector) -> Vector:
    """A - b."""
    return a[0] - b[0], a[1] - b[1], a[2] - b[2]


def scale(a: Vector, factor: float) -> Vector:
    """A times a number."""
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
    """Inner products along the first axis, always summed as (x + y) + z."""
    product = a * b
    return product[0] + product[1] + product[2]


def normalize(a: Float[Tensor, "3 *rays"]) -> Float[Tensor, "3 *rays"]:
    """Vectors of length one; vectors near zero stay near zero."""
    return a / torch.sqrt(dot(a, a)).clamp(min=1e-12)


def transform(matrix: Float[Tensor, "3 3 *#rays"], vector: Float[Tensor, "3 *#rays"]) -> Float[Tensor, "3 *rays"]:
    """Matrix times vector along the first axes, always summed from the first column on."""
    return matrix[:, 0] * vector[0] + matrix[:, 1] * vector[1] + matrix[:, 2] * vector[2]
