"""Weight penalties with many coefficients, kept as logarithms so that every value is allowed."""

from __future__ import annotations

from collections.abc import Callable

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


def unit_l2(module: nn.Module, *, start: float) -> Named:
    """A coefficient for each input unit of each weight matrix (or input channel of a convolution), all at `start`.

    An MLP of 784-50-50-50-10 has 784 + 50 + 50 + 50 = 934 of them.

    Args:
        module: its weights with two dimensions or more get coefficients.
        start: natural logarithm of the coefficient.
    Returns:
        name of the weight -> logarithms, (inputs,) or (channels, 1, …), as `log_l2` takes them.
    Raises:
        ValueError: start is not finite; there is no weight matrix.
    """
    return _filled("unit_l2", module, start, lambda weight: (weight.shape[1], *[1] * (weight.ndim - 2)))


def layer_l2(module: nn.Module, *, start: float) -> Named:
    """A coefficient for each weight matrix, a tensor without dimensions; see `unit_l2`."""
    return _filled("layer_l2", module, start, lambda weight: ())


def parameter_l2(module: nn.Module, *, start: float) -> Named:
    """A coefficient for each entry of each weight matrix, shaped like it; see `unit_l2`."""
    return _filled("parameter_l2", module, start, lambda weight: tuple(weight.shape))


def _filled(where: str, module: nn.Module, start: float, shape: Callable[[Tensor], tuple[int, ...]]) -> Named:
    if not isinstance(module, nn.Module):
        raise ValueError(f"{where}: module must be a torch.nn.Module, got {module!r}")
    check_number(where, "start", start)
    matrices = {name: weight for name, weight in module.named_parameters() if weight.ndim > 1}
    if not matrices:
        raise ValueError(f"{where}: module must have a weight matrix, got {module}")
    return {name: weight.detach().new_full(shape(weight), start) for name, weight in matrices.items()}
