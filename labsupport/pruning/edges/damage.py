"""What deleting one weight does to the loss, by the curvature: its diagonal for large networks, all of it for small."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.func import functional_call, hessian, jacrev, vmap
from torch.nn.functional import cross_entropy

from labsupport.pruning.edges.networks import steps_of
from labsupport.values import check_choice, check_number, is_finite

__all__ = ["gauss_newton", "obd_scores"]

Loss = Callable[[Tensor, Tensor], Tensor]
CURVATURES = ("gauss_newton", "recursion")
NEGATIVE = 1e-6  # how far below 0, of the largest, an eigenvalue of the loss's own curvature may lie by rounding


def obd_scores(
    module: nn.Sequential, x: Tensor, y: Tensor, *, loss: Loss = cross_entropy, curvature: str = "gauss_newton"
) -> dict[str, Tensor]:
    """½ h_kk w_k² for every weight and bias: what the loss gains when weight k alone becomes 0, to second order.

    Args:
        module: linear layers and elementwise activations in a row, such as `models.mlp`; a Flatten may stand in front.
        x, y: n examples and their targets.
        loss: (output, target) -> mean over the examples; convex in the output.
        curvature: what stands for the diagonal h_kk of the Hessian. "gauss_newton" is the exact diagonal of the
            Gauss–Newton matrix. "recursion" is LeCun's: second derivatives are sent back through squared weights, one
            number for each unit, as if units of a layer did not act together. It is not exact beyond the last layer,
            though it costs a tenth with ten outputs. Both leave out the activations' own curvature.
    Returns:
        Name of each parameter -> scores of its shape, >= 0, in its dtype.
    Raises:
        ValueError: another kind of module, data that do not fit, a loss that is not convex, or an unknown curvature.
    Source: LeCun, Denker & Solla 1989, "Optimal brain damage", section 2.
    """
    check_choice("obd_scores", "curvature", curvature, CURVATURES)
    steps = steps_of("obd_scores", module, x)
    said = steps[-1][2]
    roots = _roots("obd_scores", loss, said, y)
    carried = roots if curvature == "gauss_newton" else roots.square().sum(-1, keepdim=True)
    exact = curvature == "gauss_newton"
    found = {}
    for name, layer, before in reversed(steps[:-1]):
        if not isinstance(layer, nn.Linear):
            slope = _slope(layer, before)[..., None]
            carried = carried * (slope if exact else slope.square())
            continue
        weight = layer.weight.detach().double()
        each = (carried.square() if exact else carried).sum(-1)
        curvatures = {f"{name}.weight": each.mT @ before.square() / len(before), f"{name}.bias": each.mean(0)}
        for key, value in layer.named_parameters(name):
            found[key] = (curvatures[key] * value.detach().double().square() / 2).to(value.dtype)
        carried = (weight if exact else weight.square()).mT @ carried
    return {key: found[key] for key, _ in module.named_parameters()}


def gauss_newton(
    module: nn.Module, x: Tensor, y: Tensor, *, loss: Loss = cross_entropy, damping: float = 0.0
) -> Tensor:
    """The Gauss–Newton matrix of a small network: (1/n) Σ JᵀLJ, J an example's Jacobian and L its loss's own curvature.

    Args:
        module: P parameters, in the order of `module.parameters()`; P² numbers are kept, so a few thousand at most.
        x, y, loss: see `obd_scores`.
        damping: what is added to the diagonal, as a multiple of its mean; >= 0.
    Returns:
        (P, P), float64, symmetric.
    Raises:
        ValueError: data that do not fit, a loss that is not convex, or a bound above is broken.
    """
    check_number("gauss_newton", "damping", damping, low=0.0)
    if not isinstance(module, nn.Module) or not any(True for _ in module.parameters()):
        raise ValueError(f"gauss_newton: module must be a torch.nn.Module with parameters, got {type(module).__name__}")
    params = {name: value.detach().double() for name, value in module.named_parameters()}
    still = {name: value.double() if value.is_floating_point() else value for name, value in module.named_buffers()}
    if any(layer.training and isinstance(layer, nn.modules.batchnorm._BatchNorm) for layer in module.modules()):
        raise ValueError("gauss_newton: module must be in eval mode, got a batch norm that mixes examples")
    if not isinstance(x, Tensor) or not x.ndim or not len(x):
        raise ValueError(f"gauss_newton: x must be examples (n, …), got {getattr(x, 'shape', type(x).__name__)}")
    x = x.double() if x.is_floating_point() else x

    def says(params: dict[str, Tensor], x: Tensor) -> Tensor:
        return functional_call(module, {**params, **still}, (x[None],))[0]

    roots = _roots("gauss_newton", loss, vmap(says, (None, 0))(params, x), y)
    slopes = vmap(jacrev(says), (None, 0))(params, x)
    flat = torch.cat([value.flatten(2) for value in slopes.values()], dim=2)
    rows = (roots.mT @ flat).flatten(0, 1)
    matrix = rows.mT @ rows / len(x)
    matrix.diagonal().add_(damping * matrix.diagonal().mean())
    return matrix


def _slope(activation: nn.Module, before: Tensor) -> Tensor:
    with torch.enable_grad():
        place = before.detach().requires_grad_()
        (slope,) = torch.autograd.grad(activation(place.clone()).sum(), place)
    return slope


def _roots(where: str, loss: Loss, said: Tensor, y: Tensor) -> Tensor:
    """R of each example, (n, outputs, outputs), RRᵀ the second derivative of its loss with respect to its output."""
    fits = isinstance(y, Tensor) and y.ndim and said.ndim == 2 and len(y) == len(said) > 0
    if not fits or not is_finite(said):
        got = f"{tuple(said.shape)} and {tuple(y.shape) if isinstance(y, Tensor) else type(y).__name__}"
        raise ValueError(f"{where}: outputs must be finite, (n, outputs), and y have n rows, got {got}")
    y = y.double() if y.is_floating_point() else y

    def alone(output: Tensor, target: Tensor) -> Tensor:
        return loss(output[None], target[None])

    values, vectors = torch.linalg.eigh(vmap(hessian(alone))(said, y))
    if bool((values < -NEGATIVE * values.abs().amax().clamp(min=1)).any()):
        raise ValueError(f"{where}: loss must be convex in the output, got a curvature of {values.min():g}")
    return vectors * values.clamp(min=0).sqrt()[:, None, :]
