"""What a network is worth, told before it is trained in full, and how well such estimates order the networks.

`kendall` compares two orders. Four scores look at a network at its start, on one batch. `forecast` is a regression on
the codes of networks that were trained, and `inherit` lets a network begin with what another one learnt.

The scores take `call`, (params, x) -> outputs, and `params`, name -> tensor; `scores` gives one for each member of a
population. The larger, the better the network is said to be.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call, grad, vmap
from torch.nn.functional import cross_entropy

from labsupport.nas import cells
from labsupport.population import State
from labsupport.search import space as spaces
from labsupport.search.gaussian import fit, posterior
from labsupport.search.space import Categorical, Params, Space
from labsupport.values import holds, is_finite, number

__all__ = [
    "forecast", "gradient_norm", "inherit", "jacobian_covariance", "kendall", "one_hot", "scores", "snip", "synflow",
]  # fmt: skip

Values = Mapping[str, Tensor]
Call = Callable[[Values, Tensor], Tensor]
_SMALL = 1e-5  # added to the eigenvalues of a correlation matrix, as Mellor et al. do
_AT_ONCE = 64  # members scored together


def kendall(a: Any, b: Any) -> float:
    """Kendall's τ_b of two lists of values: agreeing less disagreeing pairs, over the pairs that are not tied.

    1 where both order alike, −1 where one is the other's reverse. The denominator is the geometric mean of the pairs
    that are untied in `a` and in `b`.

    Args:
        a, b: (n,) real numbers; infinities may be among them.
    Returns:
        τ_b; NaN where one of them is constant or holds NaN, or n < 2.
    Raises:
        ValueError: no numbers, another shape, complex numbers, or unequal lengths.
    Source: Kendall 1945, doi:10.1093/biomet/33.3.239.
    """
    a, b = _tensor("a", a), _tensor("b", b)
    if a.ndim != 1 or a.shape != b.shape or a.is_complex() or b.is_complex():
        raise ValueError(f"kendall: a and b must be real of one shape (n,), got {tuple(a.shape)} and {tuple(b.shape)}")
    if not holds(~(a.isnan() | b.isnan())):
        return float("nan")
    first, second = _order(a), _order(b)
    untied = first.abs().sum().double() * second.abs().sum().double()
    return number((first * second).sum().double() / untied.sqrt())


def gradient_norm(call: Call, params: Values, x: Tensor, y: Tensor) -> Tensor:
    """Σ ‖∂L/∂W‖ over the weights, tensors of two dimensions or more, with L the mean cross-entropy on a batch.

    Args:
        call, params: see the head of this file.
        x: (n, …); y: (n,) int64, the classes.
    Returns:
        () of the parameters' dtype.
    Raises:
        ValueError: x and y do not fit.
    Source: Abdelfattah et al. 2021, arXiv:2101.08134, section 3.
    """
    slopes = _slopes("gradient_norm", call, params, x, y)
    return sum(slope.norm() for slope in slopes.values() if slope.ndim > 1)


def snip(call: Call, params: Values, x: Tensor, y: Tensor) -> Tensor:
    """Σ |w ∂L/∂w| over the weights: to first order, what the loss would change if each alone were cut.

    Args, Returns, Raises: as `gradient_norm`.
    Source: Lee, Ajanthan & Torr 2019, arXiv:1810.02340, summed as in Abdelfattah et al. 2021, section 3.
    """
    slopes = _slopes("snip", call, params, x, y)
    return sum((params[name] * slope).abs().sum() for name, slope in slopes.items() if slope.ndim > 1)


def synflow(call: Call, params: Values, x: Tensor, y: Tensor | None = None) -> Tensor:
    """Σ w ∂R/∂w over the weights, with R the sum of the outputs for an input of ones and every parameter made ≥ 0.

    No data are looked at: of `x` only the shape counts, and `y` is there to match the other scores.

    Args, Returns: as `gradient_norm`.
    Source: Tanaka, Kunin, Yamins & Ganguli 2020, arXiv:2006.05467, summed as in Abdelfattah et al. 2021, section 3.
    """
    size = {name: value.abs() for name, value in params.items()}
    slopes = grad(lambda given: call(given, x.new_ones(1, *x.shape[1:])).sum())(size)
    return sum((size[name] * slope).sum() for name, slope in slopes.items() if slope.ndim > 1)


def jacobian_covariance(call: Call, params: Values, x: Tensor, y: Tensor | None = None) -> Tensor:
    """−Σ (log(v + ε) + 1/(v + ε)) over the eigenvalues v of how input gradients of different examples correlate.

    The gradient is that of an example's summed outputs, ε is 1e-5. Large where examples are told apart. A gradient
    without variance, as in a network that does not depend on its input, counts as fully correlated with every other.

    Args, Returns: as `gradient_norm`; `y` is there to match the other scores.
    Raises:
        ValueError: x holds fewer than two examples.
    Source: Mellor et al. 2020, the first version of arXiv:2006.04647, as in Abdelfattah et al. 2021, section 3.
    """
    if len(x) < 2:
        raise ValueError(f"jacobian_covariance: x must hold at least two examples, got {len(x)}")
    slopes = grad(lambda at: call(params, at).sum())(x).flatten(1)
    centred = slopes - slopes.mean(1, keepdim=True)
    length = centred.norm(dim=1, keepdim=True)
    flat = length <= 1e-12
    unit = centred / torch.where(flat, 1.0, length)
    alike = torch.where(flat | flat.mT, 1.0, unit @ unit.mT)
    values = torch.linalg.eigvalsh(alike).clamp_min(0) + _SMALL
    return -(values.log() + 1 / values).sum()


def scores(proxy: Callable[..., Tensor], state: State, x: Tensor, y: Tensor) -> Tensor:
    """What one of the scores above says of each member, (members,), on one batch for all.

    Args:
        proxy: (call, params, x, y) -> ().
        state: its buffers, such as the codes of `cells.CellNet`, belong to the members too.
        x, y: the batch, (n, …) and (n,).
    Raises:
        ValueError: what the score refuses.
    """

    def one(params: Values, buffers: Values) -> Tensor:
        return proxy(lambda given, at: functional_call(state.module, {**given, **buffers}, (at,)), params, x, y)

    return vmap(one, chunk_size=_AT_ONCE)(state.params, state.buffers).detach()


def one_hot(space: Space, codes: Sequence[Params]) -> Tensor:
    """A row for each code, a column for each choice of each dimension: (codes, choices) float64.

    Raises:
        ValueError: a dimension is no `Categorical` or exists only under a condition; no code, or one of another space.
    """
    if space.when or not all(isinstance(dim, Categorical) for dim in space.dims.values()):
        raise ValueError("one_hot: space must hold nothing but unconditional categories")
    if not codes:
        raise ValueError("one_hot: codes must hold at least one, got none")
    for code in codes:
        spaces.to_unit(space, code)  # refuses what is no code
    columns = [[float(code[name] == choice) for name, dim in space.dims.items() for choice in dim.choices]
               for code in codes]  # fmt: skip
    return torch.tensor(columns, dtype=torch.float64)


def forecast(x: Tensor, y: Tensor, at: Tensor) -> tuple[Tensor, Tensor]:
    """What a Gaussian process, fitted to the values of some codes, expects of others: mean and deviation, (m,) each.

    Args:
        x: (n, dims), the codes that were trained, such as rows of `one_hot`; n >= 1.
        y: (n,), their values; equal ones are expected everywhere.
        at: (m, dims), the others.
    Raises:
        ValueError: what `gaussian.fit` refuses.
    """
    centre, spread = y.mean(), y.std(correction=0)
    if not is_finite(spread) or number(spread) == 0.0:
        spread = torch.ones_like(spread)
    scaled = (y - centre) / spread
    mean, variance = posterior(x, scaled, at, **fit(x, scaled)._asdict())
    return centre + spread * mean, spread * variance.sqrt()


def inherit(children: State, parents: State, *, codes: Sequence[Params], parent_codes: Sequence[Params]) -> State:
    """Children that begin with their parents' weights where both compute the same; the rest is the children's own.

    Members are of `cells.CellNet`, the i-th child of the i-th parent. Shared are the stem, the classifier, each node
    that reads the same state and applies the same operation.

    Args:
        children: a population at its start; the optimizer's state stays as it is.
        parents: as many members, trained.
        codes, parent_codes: the members' codes.
    Raises:
        ValueError: not as many codes as members, or a code of another space.
    Source: the mutants of Real et al. 2017, arXiv:1703.01041, in the small space.
    """
    counts = (len(children), len(parents), len(codes), len(parent_codes))
    if len(set(counts)) > 1:
        raise ValueError(f"inherit: children, parents and both lists of codes must be as many, got {counts}")
    old, new = cells.with_cells(parents, parent_codes), cells.with_cells(children, codes)
    same = torch.ones(len(codes), 3, dtype=torch.bool, device=new.active.device)
    for name in ("reads", "applies"):
        same &= (old.buffers[name] == new.buffers[name]).all(-1)

    def taken(name: str, own: Tensor) -> Tensor:
        if not name.startswith("nodes."):
            return old.params[name].clone()
        which = same[:, int(name.split(".")[1])].view(-1, *[1] * (own.ndim - 1))
        return torch.where(which, old.params[name], own)

    return replace(new, params={name: taken(name, own) for name, own in new.params.items()})


def _tensor(name: str, values: Any) -> Tensor:
    """A tensor or array as it is; of a list, where torch takes float32, Python's floats in full."""
    try:
        found = torch.as_tensor(values)
    except (TypeError, ValueError, RuntimeError) as problem:
        raise ValueError(f"kendall: {name} must hold real numbers, got {values!r}: {problem}") from problem
    listed = not hasattr(values, "dtype") and found.is_floating_point()
    return torch.as_tensor(values, dtype=torch.float64) if listed else found


def _order(values: Tensor) -> Tensor:
    """The sign of each difference, (n, n), without taking one: infinities compare too."""
    column = values[:, None]
    return (column > values).to(torch.int8) - (column < values).to(torch.int8)


def _slopes(where: str, call: Call, params: Values, x: Tensor, y: Tensor) -> dict[str, Tensor]:
    if len(x) == 0 or y.shape != x.shape[:1] or y.dtype != torch.int64:
        got = f"{tuple(x.shape)} and {tuple(y.shape)} {y.dtype}"
        raise ValueError(f"{where}: y must hold an int64 class for each of the rows of x, got {got}")
    return grad(lambda given: cross_entropy(call(given, x), y))(dict(params))
