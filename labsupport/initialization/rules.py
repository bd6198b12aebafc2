"""Rules that fill one weight tensor in place, each from a generator; every rule returns the tensor.

A rule is a function `rule(weight, *, generator)`. Options are bound before: `functools.partial(normal_, std=0.01)`.

The draw is made where the generator lives and then copied, so a generator on the CPU gives the same start on every
device. From a generator on the weight's own device, float32 and float64 weights equal those of `torch.nn.init`.
Weights of 16 bits get the float32 start, rounded: drawn in bfloat16 itself, a uniform weight's mean is off zero.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from labsupport.values import check_choice, check_generator, check_number

__all__ = [
    "constant_",
    "cosine_",
    "delta_orthogonal_",
    "fans",
    "he_normal_",
    "he_uniform_",
    "lecun_normal_",
    "lecun_uniform_",
    "normal_",
    "orthogonal_",
    "uniform_",
    "xavier_normal_",
    "xavier_uniform_",
]

Rule = Callable[..., Tensor]
"""`rule(weight, generator=…)` fills the tensor in place and returns it."""

Fan = Literal["fan_in", "fan_out", "fan_avg"]
_RELU_GAIN = math.sqrt(2.0)


def fans(weight: Tensor) -> tuple[int, int]:
    """The numbers (fan_in, fan_out) of connections into an output and out of an input, read from the weight's shape.

    A linear weight is (outputs, inputs), a convolution's (output channels, input channels ÷ groups, *kernel). So
    fan_in = weight.shape[1] · kernel elements and fan_out = weight.shape[0] · kernel elements, as torch counts them.

    Two cases need care. With groups, fan_in is right, because one output sees one group only; fan_out counts the
    outputs of all groups, `groups` times too many. A transposed convolution stores (inputs, outputs ÷ groups,
    *kernel): without groups the pair comes out swapped. In both cases a stride or an edge of the image changes the
    true number of connections; the fans ignore that.

    Raises:
        ValueError: fewer than two dimensions, no elements, or no floating-point tensor.
    """
    _check_weight("fans", weight)
    kernel = math.prod(weight.shape[2:])
    return weight.shape[1] * kernel, weight.shape[0] * kernel


def constant_(weight: Tensor, *, value: float, generator: torch.Generator | None = None) -> Tensor:
    """Fill with one value; any shape. The generator is not used: it makes this a rule like the others.

    Constant weights keep all units of a layer equal for ever, unless something else tells them apart.

    Raises:
        ValueError: no floating-point tensor, or a value that is not finite.
    """
    _check_tensor("constant_", weight)
    value = check_number("constant_", "value", value)
    with torch.no_grad():
        return weight.fill_(value)


def normal_(weight: Tensor, *, std: float, generator: torch.Generator) -> Tensor:
    """Fixed variance: independent draws from N(0, std²); any shape.

    Args:
        weight: filled in place.
        std: standard deviation, >= 0.
        generator: draws the values.
    Raises:
        ValueError: a bound above is broken, or no floating-point tensor.
    """
    _check_tensor("normal_", weight)
    std = check_number("normal_", "std", std, low=0)
    check_generator("normal_", generator)
    return _fill(weight, _drawn(weight, generator).normal_(0, std, generator=generator))


def uniform_(weight: Tensor, *, std: float, generator: torch.Generator) -> Tensor:
    """Fixed variance: independent draws from the uniform law on ±√3·std, whose standard deviation is std; any shape.

    Args:
        weight: filled in place.
        std: standard deviation (not the bound), >= 0.
        generator: draws the values.
    Raises:
        ValueError: a bound above is broken, or no floating-point tensor.
    """
    _check_tensor("uniform_", weight)
    std = check_number("uniform_", "std", std, low=0)
    check_generator("uniform_", generator)
    bound = math.sqrt(3.0) * std
    return _fill(weight, _drawn(weight, generator).uniform_(-bound, bound, generator=generator))


def xavier_normal_(weight: Tensor, *, gain: float = 1.0, generator: torch.Generator) -> Tensor:
    """N(0, 2·gain² ÷ (fan_in + fan_out)): a compromise between forward and backward, for units near their linear part.

    Raises:
        ValueError: a negative or infinite gain, or a weight that `fans` refuses.
    Source: Glorot & Bengio 2010, PMLR 9:249, eq. 12.
    """
    return normal_(weight, std=_std("xavier_normal_", weight, gain, "fan_avg"), generator=generator)


def xavier_uniform_(weight: Tensor, *, gain: float = 1.0, generator: torch.Generator) -> Tensor:
    """Uniform on ±gain·√(6 ÷ (fan_in + fan_out)), the variance of `xavier_normal_`.

    Raises:
        ValueError: a negative or infinite gain, or a weight that `fans` refuses.
    Source: Glorot & Bengio 2010, PMLR 9:249, eq. 16, the "normalized initialization".
    """
    return uniform_(weight, std=_std("xavier_uniform_", weight, gain, "fan_avg"), generator=generator)


def he_normal_(weight: Tensor, *, gain: float = _RELU_GAIN, mode: Fan = "fan_in", generator: torch.Generator) -> Tensor:
    """N(0, gain² ÷ fan), with gain √2 for ReLU, because E[relu(z)²] = ½ Var z for a symmetric z.

    Args:
        weight: filled in place; (outputs, inputs, *kernel).
        gain: √2 for ReLU, √(2 ÷ (1 + slope²)) for leaky ReLU, `gains.forward_gain` for any other activation.
        mode: "fan_in" keeps the second moment of the signal, "fan_out" that of the gradient; "fan_avg" lies between.
        generator: draws the values.
    Raises:
        ValueError: a negative or infinite gain, an unknown mode, or a weight that `fans` refuses.
    Source: He et al. 2015, arXiv:1502.01852, eqs. 10 and 14.
    """
    return normal_(weight, std=_std("he_normal_", weight, gain, mode), generator=generator)


def he_uniform_(
    weight: Tensor, *, gain: float = _RELU_GAIN, mode: Fan = "fan_in", generator: torch.Generator
) -> Tensor:
    """Uniform on ±gain·√(3 ÷ fan), the variance of `he_normal_`; arguments and refusals are the same."""
    return uniform_(weight, std=_std("he_uniform_", weight, gain, mode), generator=generator)


def lecun_normal_(weight: Tensor, *, generator: torch.Generator) -> Tensor:
    """N(0, 1 ÷ fan_in): keeps the second moment through a linear map. Not truncated, unlike Keras's and JAX's.

    Raises:
        ValueError: a weight that `fans` refuses.
    Source: LeCun, Bottou, Orr & Müller 1998, "Efficient BackProp", on initializing the weights.
    """
    return normal_(weight, std=_std("lecun_normal_", weight, 1.0, "fan_in"), generator=generator)


def lecun_uniform_(weight: Tensor, *, generator: torch.Generator) -> Tensor:
    """Uniform on ±√(3 ÷ fan_in), the variance of `lecun_normal_`; three times that of torch's own default."""
    return uniform_(weight, std=_std("lecun_uniform_", weight, 1.0, "fan_in"), generator=generator)


def orthogonal_(weight: Tensor, *, gain: float = 1.0, generator: torch.Generator) -> Tensor:
    """gain times a (semi-)orthogonal matrix, uniform among all: orthonormal rows, or columns where there are more rows.

    A kernel is flattened to (output channels, everything else), as torch does it. That is no orthogonal
    *convolution*: overlapping patches are not independent (see `delta_orthogonal_`). A square orthogonal map keeps
    every norm; a ReLU behind it halves the mean square, so there the gain is √2. The factorization runs in float64.

    Raises:
        ValueError: a negative or infinite gain, or a weight that `fans` refuses.
    Source: Saxe, McClelland & Ganguli 2014, arXiv:1312.6120; signs after Mezzadri 2007, arXiv:math-ph/0609050.
    """
    _check_weight("orthogonal_", weight)
    gain = check_number("orthogonal_", "gain", gain, low=0)
    check_generator("orthogonal_", generator)
    drawn = torch.empty(weight.shape[0], weight[0].numel(), dtype=_wide(weight), device=generator.device)
    return _fill(weight, gain * _orthogonal(drawn, generator).view(weight.shape))


def delta_orthogonal_(weight: Tensor, *, gain: float = 1.0, generator: torch.Generator) -> Tensor:
    """A convolution that keeps norms: gain times an orthonormal matrix in the kernel's center, zeros around it.

    With stride 1, "same" padding and one group the map from image to image has orthonormal columns.

    Args:
        weight: (output channels, input channels, *kernel) of a convolution, with odd kernel sides and at least as many
            output as input channels; filled in place.
        gain: >= 0; √2 before ReLU.
        generator: draws the matrix.
    Raises:
        ValueError: a bound above is broken.
    Source: Xiao et al. 2018, arXiv:1806.05393, algorithm 2.
    """
    _check_weight("delta_orthogonal_", weight)
    if weight.dim() < 3 or any(side % 2 == 0 for side in weight.shape[2:]):
        rule = "be a convolution's, with odd kernel sides"
        raise ValueError(f"delta_orthogonal_: weight must {rule}, got shape {tuple(weight.shape)}")
    if weight.shape[0] < weight.shape[1]:
        rule = "have at least as many output as input channels"
        raise ValueError(f"delta_orthogonal_: weight must {rule}, got shape {tuple(weight.shape)}")
    gain = check_number("delta_orthogonal_", "gain", gain, low=0)
    check_generator("delta_orthogonal_", generator)
    drawn = torch.empty(weight.shape[:2], dtype=_wide(weight), device=generator.device)
    kernel = torch.zeros(weight.shape, dtype=torch.float64, device=generator.device)
    kernel[(..., *(side // 2 for side in weight.shape[2:]))] = gain * _orthogonal(drawn, generator)
    return _fill(weight, kernel)


def cosine_(weight: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
    """A formula instead of chance: each unit weighs its inputs by a cosine of its own frequency; rows of length √2.

    The rows are those of the discrete cosine transform, and orthogonal. The generator is not used: it makes this a rule
    like the others.

    Args:
        weight: (outputs <= inputs, inputs), filled in place.
    Raises:
        ValueError: another shape, or no floating-point tensor.
    Source: Ahmed, Natarajan & Rao 1974, IEEE Transactions on Computers C-23(1), for the transform.
    """
    _check_weight("cosine_", weight)
    if weight.dim() != 2 or weight.shape[0] > weight.shape[1]:
        raise ValueError(f"cosine_: weight must have shape (outputs <= inputs, inputs), got {tuple(weight.shape)}")
    (units, inputs), options = weight.shape, {"dtype": _wide(weight), "device": weight.device}
    k, n = torch.arange(units, **options), torch.arange(inputs, **options)
    waves = torch.cos(math.pi / inputs * torch.outer(k, n + 0.5))
    waves[0] /= math.sqrt(2)
    return _fill(weight, 2 / math.sqrt(inputs) * waves)


def _std(where: str, weight: Tensor, gain: float, mode: str) -> float:
    """gain ÷ √fan, in the order of operations that torch.nn.init has."""
    _check_weight(where, weight)
    gain = check_number(where, "gain", gain, low=0)
    check_choice(where, "mode", mode, ("fan_in", "fan_out", "fan_avg"))
    fan_in, fan_out = fans(weight)
    if mode == "fan_avg":
        return gain * math.sqrt(2.0 / (fan_in + fan_out))
    return gain / math.sqrt(fan_in if mode == "fan_in" else fan_out)


def _orthogonal(drawn: Tensor, generator: torch.Generator) -> Tensor:
    """A (semi-)orthogonal float64 matrix of `drawn`'s shape, from normal draws in its dtype and order."""
    matrix = drawn.normal_(0, 1, generator=generator).double()
    wide = matrix.shape[0] < matrix.shape[1]
    q, r = torch.linalg.qr(matrix.mT if wide else matrix)
    q = q * r.diagonal().sign()
    return (q.mT if wide else q).contiguous()


def _drawn(weight: Tensor, generator: torch.Generator) -> Tensor:
    return torch.empty_like(weight, dtype=_wide(weight), device=generator.device, requires_grad=False)


def _wide(weight: Tensor) -> torch.dtype:
    return torch.float64 if weight.dtype == torch.float64 else torch.float32


def _fill(weight: Tensor, values: Tensor) -> Tensor:
    with torch.no_grad():
        return weight.copy_(values)


def _check_tensor(where: str, weight: Tensor) -> None:
    if not isinstance(weight, Tensor) or not weight.is_floating_point():
        kind = weight.dtype if isinstance(weight, Tensor) else type(weight).__name__
        raise ValueError(f"{where}: weight must be a floating-point tensor, got {kind}")
    if weight.grad_fn is not None and not (weight._is_view() and weight._base.is_leaf):
        rule = "a parameter or a part of one; a parametrized layer is what starts.apply_ fills"
        raise ValueError(f"{where}: weight must be {rule}, got what {type(weight.grad_fn).__name__} has computed")


def _check_weight(where: str, weight: Tensor) -> None:
    _check_tensor(where, weight)
    if weight.dim() < 2 or weight.numel() == 0:
        rule = "have two or more dimensions and at least one element"
        raise ValueError(f"{where}: weight must {rule}, got shape {tuple(weight.shape)}")
