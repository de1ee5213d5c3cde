"""Muon: matrices of weights take steps of one length in all directions at once, and all else is left to Adam.

K. Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024; the length of the steps is that of
J. Liu et al., "Muon is scalable for LLM training", 2025. Not in AST-Seg's paper, which has Adam.

The gradient of a convolution or a linear layer, as a matrix with a row for each output, is large in few directions, and
these decide Adam's steps. Muon replaces it by the nearest matrix with all singular values near 1, so that rare
directions are learned as fast as common ones.
"""

import math
from collections.abc import Iterable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.optim.adam import adam

SMALLEST_SIDE = 8
"""The shortest side of matrices that Muon moves. Smaller ones, such as those of positions, are left to Adam."""
MOMENTUM = 0.95
LENGTH = 0.2
"""The root mean square of a step with a learning rate of 1, about as large as that of Adam."""
COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""a, b and c of the odd polynomial a s + b s^3 + c s^5 that brings singular values s towards 1 fastest (Jordan et
al.)."""
ITERATIONS = 5


def orthogonalized(matrix: Float[Tensor, "rows columns"]) -> Float[Tensor, "rows columns"]:
    """Return a matrix with the singular vectors of another, and singular values between about 0.7 and 1.2.

    Singular values that were below about a thousandth of the largest stay smaller.

    Five steps apply the polynomial to the singular values by products alone: X becomes (a + b X X' + c (X X')^2) X.
    The factors of all steps are polynomials in the Gram matrix X X' of the shorter side. They are multiplied with each
    other first and with X once at the end, which takes half the time.

    >>> found = orthogonalized(torch.tensor([[3.0, 0.0, 0.0], [0.0, 0.0, -0.5]]))
    >>> [[round(value, 1) for value in row] for row in found.tolist()]
    [[0.7, 0.0, 0.0], [0.0, 0.0, -1.0]]
    """
    tall = matrix.shape[0] > matrix.shape[1]
    wide = matrix.T if tall else matrix
    largest = wide.abs().max().clamp_min(torch.finfo(wide.dtype).tiny)  # squares of tiny gradients would be 0
    scaled = wide / largest
    scaled = scaled / scaled.norm().clamp_min(1)  # no singular value is beyond 1
    gram, product = scaled @ scaled.T, torch.eye(len(scaled), dtype=scaled.dtype, device=scaled.device)
    first, third, fifth = COEFFICIENTS
    for _ in range(ITERATIONS):
        factor = torch.addmm(gram, gram, gram, beta=third, alpha=fifth)
        factor.diagonal().add_(first)
        product, gram = factor @ product, factor @ gram @ factor
    nearest: Tensor = product @ scaled
    return nearest.T if tall else nearest


def is_matrix(parameter: Tensor) -> bool:
    """Tell whether Muon moves a parameter: it is a matrix, or the kernel of a convolution, of a certain size.

    >>> [is_matrix(torch.empty(shape)) for shape in ((16, 3, 5, 5), (64, 64), (64,), (10, 2))]
    [True, True, False, False]
    """
    return parameter.ndim > 1 and min(len(parameter), parameter[0].numel()) >= SMALLEST_SIDE


class Muon(torch.optim.Optimizer):
    """Moves matrices by their orthogonalized momentum, and everything else as Adam does, at the same rates.

    Args:
        groups: parameters, or groups of them, as torch's optimizers take them.
        learning_rate: the length of a step; each group may be given its own as ``lr``.
        betas: the decay rates of Adam's two running means.
        eps: a number that is added to Adam's divisor.
    """

    def __init__(
        self,
        groups: Iterable[nn.Parameter] | Iterable[dict[str, Any]],
        learning_rate: float,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
    ) -> None:
        # `fused` tells torch to load Adam's step numbers to where the parameters are.
        super().__init__(groups, {"lr": learning_rate, "betas": betas, "eps": eps, "fused": True})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Move all parameters that have a gradient."""
        for group in self.param_groups:
            learned = [parameter for parameter in group["params"] if parameter.grad is not None]
            for parameter in filter(is_matrix, learned):
                self._move_matrix(parameter, group["lr"])
            self._move_others([parameter for parameter in learned if not is_matrix(parameter)], group)

    def _move_matrix(self, parameter: Tensor, learning_rate: float) -> None:
        """Move a matrix by its orthogonalized momentum."""
        state = self.state[parameter]
        if not state:
            state["momentum"] = torch.zeros_like(parameter)
        momentum, gradient = state["momentum"], parameter.grad
        assert gradient is not None
        momentum.lerp_(gradient, 1 - MOMENTUM)
        step = orthogonalized(gradient.lerp(momentum, MOMENTUM).flatten(1))  # Nesterov's: a step ahead
        length = LENGTH * math.sqrt(max(step.shape))  # the root mean square of the orthogonal is its inverse
        parameter.sub_(step.view(parameter.shape), alpha=learning_rate * length)

    def _move_others(self, parameters: list[Tensor], group: dict[str, Any]) -> None:
        """Move parameters by Adam."""
        for parameter in parameters:
            state = self.state[parameter]
            if not state:
                state["step"] = torch.zeros((), device=parameter.device)
                state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(parameter), torch.zeros_like(parameter)
        states = [self.state[parameter] for parameter in parameters]
        if states:
            adam(
                parameters,
                [parameter.grad for parameter in parameters if parameter.grad is not None],
                [state["exp_avg"] for state in states],
                [state["exp_avg_sq"] for state in states],
                [],
                [state["step"] for state in states],
                fused=group["fused"],
                amsgrad=False,
                beta1=group["betas"][0],
                beta2=group["betas"][1],
                lr=group["lr"],
                weight_decay=0.0,
                eps=group["eps"],
                maximize=False,
            )
