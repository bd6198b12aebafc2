"""Weight penalties with many coefficients, kept as logarithms so that every value is allowed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from torch import Tensor, nn

from labsupport.hypergradients.problem import Named, fits
from labsupport.values import check_number

__all__ = ["layer_l2", "log_l2", "parameter_l2", "unit_l2"]


def log_l2(weights: Named, logs: Named) -> Tensor:
    """½ Σ exp(c) w², each weight with its own c.

    Args:
        weights: name -> tensor.
        logs: name -> logarithms, broadcast to the weight of that name; names that are no weight's are left alone, so
            that a dict may hold other hyperparameters too.
    Raises:
        ValueError: no name is a weight's, or logarithms do not spread over their weight.
    """
    shared = [name for name in logs if name in weights]
    if not shared:
        raise ValueError(
            f"log_l2: logs must name a weight, one of {', '.join(weights)}, got {', '.join(logs) or 'none'}"
        )
    for name in shared:
        if not fits(logs[name], weights[name]):
            shapes = tuple(weights[name].shape), tuple(logs[name].shape)
            raise ValueError(f"log_l2: logs[{name!r}] must spread over shape {shapes[0]}, got {shapes[1]}")
    return 0.5 * sum((logs[name].exp() * weights[name].square()).sum() for name in shared)


def unit_l2(module: nn.Module | Named, *, start: float) -> Named:
    """A coefficient for each input unit of each weight matrix (or input channel of a convolution), all at `start`.

    An MLP of 784-50-50-50-10 has 784 + 50 + 50 + 50 = 934 of them.

    Args:
        module: its weights with two dimensions or more get coefficients. Or the stacked weights of several networks,
            (networks, …) each, as `studies.stacked` gives them: then every network has its own.
        start: natural logarithm of the coefficient.
    Returns:
        name of the weight -> logarithms, (inputs,) or (channels, 1, …), as `log_l2` takes them; of stacked weights
            (networks, 1, inputs) or (networks, 1, channels, 1, …).
    Raises:
        ValueError: start is not finite; there is no weight matrix.
    """
    return _filled("unit_l2", module, start, lambda shape: (shape[1], *[1] * (len(shape) - 2)))


def layer_l2(module: nn.Module | Named, *, start: float) -> Named:
    """A coefficient for each weight matrix, a tensor without dimensions; see `unit_l2`."""
    return _filled("layer_l2", module, start, lambda shape: ())


def parameter_l2(module: nn.Module | Named, *, start: float) -> Named:
    """A coefficient for each entry of each weight matrix, shaped like it; see `unit_l2`."""
    return _filled("parameter_l2", module, start, tuple)


def _filled(
    where: str, module: nn.Module | Named, start: float, shape: Callable[[Sequence[int]], tuple[int, ...]]
) -> Named:
    stacked = isinstance(module, Mapping)
    if not stacked and not isinstance(module, nn.Module):
        raise ValueError(f"{where}: module must be a torch.nn.Module or stacked weights by name, got {module!r}")
    check_number(where, "start", start)
    weights = module if stacked else dict(module.named_parameters())
    matrices = {name: weight for name, weight in weights.items() if weight.ndim > 1 + stacked}
    if not matrices:
        raise ValueError(f"{where}: module must have a weight matrix, got {module}")
    return {name: weight.detach().new_full(_own(weight, shape, stacked), start) for name, weight in matrices.items()}


def _own(weight: Tensor, shape: Callable[[Sequence[int]], tuple[int, ...]], stacked: bool) -> tuple[int, ...]:
    """The shape of a matrix's coefficients; of stacked ones such that it spreads over each network's matrix."""
    if not stacked:
        return shape(weight.shape)
    inner = shape(weight.shape[1:])
    return (len(weight), *[1] * (weight.ndim - 1 - len(inner)), *inner)
