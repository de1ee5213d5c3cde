"""Compute where rays enter the solids, and the normals of the solids.

Everything is in a shape's local coordinates (see `description.Shape`). A ray is origin + t * direction with a
direction of any length, so that t is the same in local coordinates and in space. Rays start outside the solids.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from astseg.data.scenes.description import Shape
from astseg.data.scenes.vectors import dot

MISS = 1e6
"""The distance of a ray that hits nothing."""

EPSILON = 1e-9
TORUS_STEPS = 32
TORUS_TOLERANCE = 4e-3


def entry_distance(
    shape: Shape,
    origin: Float[Tensor, "3 *#rays"],
    direction: Float[Tensor, "3 *#rays"],
    parameter: Float[Tensor, "*#rays"],
) -> Float[Tensor, "*rays"]:
    """Return the t > 0 at which rays enter a solid, or MISS."""
    if shape is Shape.SPHERE:
        near, far = _roots(dot(direction, direction), dot(origin, direction), dot(origin, origin) - 1)
    elif shape is Shape.BOX:
        near, far = _slabs(origin, direction)
    elif shape is Shape.CYLINDER:
        near, far = _cylinder(origin, direction)
    elif shape is Shape.CONE:
        near, far = _cone(origin, direction, parameter)
    elif shape is Shape.CAPSULE:
        near, far = _capsule(origin, direction, parameter)
    elif shape is Shape.TORUS:
        near, far = _torus(origin, direction, parameter)
    else:
        near, far = _octahedron(origin, direction)
    return torch.where((near < far) & (near > 0), near, MISS)


def outward_vectors(
    shape: Shape, point: Float[Tensor, "3 rays"], parameter: Float[Tensor, " rays"]
) -> Float[Tensor, "3 rays"]:
    """Return normals of any length out of a solid's surface, in local coordinates."""
    x, y, z = point
    if shape is Shape.SPHERE:
        return point
    if shape is Shape.BOX:
        size = point.abs()
        return torch.where(size >= size.amax(0), _sign(point), 0.0)
    if shape is Shape.OCTAHEDRON:
        return _sign(point)
    if shape is Shape.CAPSULE:
        return torch.stack((x, y, z - torch.minimum(torch.maximum(z, -parameter), parameter)))
    around = torch.sqrt(x * x + y * y).clamp(min=EPSILON)
    if shape is Shape.TORUS:
        return torch.stack((x - x / around, y - y / around, z))
    if shape is Shape.CYLINDER:
        on_cap = z.abs() > around
        slope = torch.zeros_like(z)
    else:
        slope = (1 - parameter) * 0.5
        on_cap = (z.abs() - 1).abs() < (around - ((1 + parameter) * 0.5 - slope * z)).abs()
    side = torch.stack((x / around, y / around, slope))
    cap = torch.stack((torch.zeros_like(z), torch.zeros_like(z), _sign(z)))
    return torch.where(on_cap, cap, side)


def _sign(value: Tensor) -> Tensor:
    return torch.where(value < 0, -1.0, 1.0)


def _nonzero(value: Tensor) -> Tensor:
    return torch.where(value.abs() < EPSILON, EPSILON, value)


def _roots(a: Tensor, b: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    """Return both roots of a t^2 + 2 b t + c, the lesser first for a > 0; (MISS, -MISS) where there are none."""
    a = _nonzero(a)  # 0 for rays along an axis: both roots are then far away, or there are none
    discriminant = b * b - a * c
    root = torch.sqrt(discriminant.clamp(min=0))
    inverse = 1 / a
    none = discriminant < 0
    return (
        torch.where(none, MISS, (-b - root) * inverse),
        torch.where(none, -MISS, (root - b) * inverse),
    )


def _slabs(offset: Tensor, speed: Tensor) -> tuple[Tensor, Tensor]:
    """Return where rays are within -1 to 1 in every component (first axis) of offset + t * speed."""
    inverse = 1 / _nonzero(speed)
    middle = offset * inverse
    reach = inverse.abs()
    return (-middle - reach).amax(0), (reach - middle).amin(0)


def _around_axis(origin: Tensor, direction: Tensor, radius: Tensor | float = 1.0) -> tuple[Tensor, Tensor]:
    (ox, oy, _), (dx, dy, _) = origin, direction
    return _roots(dx * dx + dy * dy, ox * dx + oy * dy, ox * ox + oy * oy - radius * radius)


def _cylinder(origin: Tensor, direction: Tensor) -> tuple[Tensor, Tensor]:
    side_near, side_far = _around_axis(origin, direction)
    cap_near, cap_far = _slabs(origin[2:], direction[2:])
    return torch.maximum(side_near, cap_near), torch.minimum(side_far, cap_far)


def _cone(origin: Tensor, direction: Tensor, parameter: Tensor) -> tuple[Tensor, Tensor]:
    (ox, oy, oz), (dx, dy, dz) = origin, direction
    slope = (1 - parameter) * 0.5
    around = (1 + parameter) * 0.5 - slope * oz  # the cone's radius at the origin's height
    change = slope * dz
    square = dx * dx + dy * dy - change * change
    lower, upper = _roots(square, ox * dx + oy * dy + around * change, ox * ox + oy * oy - around * around)
    # A ray steeper than the cone's side is in the double cone before the first root and after the last one.
    # The solid is in the lower half: a rising ray is in it before the first root, a falling one after the last.
    steep = square < 0
    first, last = torch.minimum(lower, upper), torch.maximum(lower, upper)
    rising = dz > 0
    near = torch.where(steep, torch.where(rising, -MISS, last), lower)
    far = torch.where(steep, torch.where(rising, first, MISS), upper)
    cap_near, cap_far = _slabs(origin[2:], direction[2:])
    return torch.maximum(near, cap_near), torch.minimum(far, cap_far)


def _capsule(origin: Tensor, direction: Tensor, parameter: Tensor) -> tuple[Tensor, Tensor]:
    side_near, side_far = _around_axis(origin, direction)
    height = origin[2] + side_near * direction[2]
    center = torch.where(height < 0, -parameter, parameter)
    from_cap = origin.expand(3, *center.shape).clone()
    from_cap[2] -= center
    cap_near, cap_far = _roots(dot(direction, direction), dot(from_cap, direction), dot(from_cap, from_cap) - 1)
    on_side = (height.abs() < parameter) & (side_near < side_far)
    return torch.where(on_side, side_near, cap_near), torch.where(on_side, side_far, cap_far)


def _octahedron(origin: Tensor, direction: Tensor) -> tuple[Tensor, Tensor]:
    def heights(vector: Tensor) -> Tensor:
        x, y, z = vector
        return torch.stack((x + y + z, x + y - z, x - y + z, y + z - x))

    return _slabs(heights(origin), heights(direction))


def _torus(origin: Tensor, direction: Tensor, parameter: Tensor) -> tuple[Tensor, Tensor]:
    """March along the rays by the distance to the torus, within the flat cylinder around it."""
    side_near, side_far = _around_axis(origin, direction, 1 + parameter)
    cap_near, cap_far = _slabs(origin[2:] / parameter, direction[2:] / parameter)
    near, far = torch.maximum(side_near, cap_near), torch.minimum(side_far, cap_far)
    near = near.clamp(min=0)
    shape = near.shape
    some = (near < far).flatten().nonzero()[:, 0]

    def chosen(value: Tensor) -> Tensor:
        return value.expand(*value.shape[: value.ndim - len(shape)], *shape).flatten(-len(shape))[..., some]

    start, along, tube, end = chosen(origin), chosen(direction), chosen(parameter), chosen(far)
    step = 1 / torch.sqrt(dot(along, along))
    t = chosen(near)
    for _ in range(TORUS_STEPS):
        t = t + _torus_distance(start + t * along, tube) * step
    hit = (_torus_distance(start + t * along, tube) < TORUS_TOLERANCE) & (t < end)
    entered = torch.full_like(near, MISS).flatten()
    entered[some] = torch.where(hit, t, MISS)
    entered = entered.view(shape)
    return entered, torch.where(entered < MISS, MISS, -MISS)


def _torus_distance(point: Tensor, tube: Tensor) -> Tensor:
    x, y, z = point
    ring = torch.sqrt(x * x + y * y) - 1
    return torch.sqrt(ring * ring + z * z) - tube
