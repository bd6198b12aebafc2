"""The controller of the first architecture search: chains, decided layer by layer, with anchors.

For each layer it decides filter size, number of filters and stride, each by a softmax, and at the layer's anchor, for
each earlier layer, whether the layer reads it: a coin with `controller.anchor_probabilities`. All chains have as many
layers as the limit, which grows as the search goes on.

Source: Zoph & Le 2017, arXiv:1611.01578, sections 3.1, 3.3 and 4.1 (there the limit begins at 6 and grows by 2 every
1,600 samples). That the step behind an anchor begins afresh, from the recurrent state alone, is ours.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from functools import partial

import torch
from torch import Tensor

from labsupport.nas import chains
from labsupport.nas.controller import USUAL, Learning, anchor_probabilities
from labsupport.nas.learning import learnt, reward, seed_of_weights
from labsupport.nas.policy import Learner, Policy, begun, lstm_cell, taught
from labsupport.search import contract
from labsupport.search.contract import Record, State, Trial, tell
from labsupport.search.space import Params, Space
from labsupport.values import check_count

__all__ = ["ask", "finished", "init", "layers_at", "tell"]

_NAME = "chain_controller"
_PARTS = ("kernel", "filters", "stride")
_RARE = 1e-12
_SIZES = (len(chains.KERNELS), len(chains.FILTERS), len(chains.STRIDES))
Values = dict[str, Tensor]
Pick = Callable[[list[str], Tensor], Tensor]


def init(
    space: Space, *, num_trials: int | None = None, first_layers: int = 2, grow_every: int = 20,
    learning: Learning = USUAL, seed: int,
) -> State:  # fmt: skip
    """A study of `num_trials` chains; without end where that is None.

    Args:
        space: of `chains.search_space`; its largest depth is the last limit.
        first_layers: layers of the first chains, 1 … the largest depth.
        grow_every: trials after which the limit grows by one layer, >= 1.
    Raises:
        ValueError: a bound above is broken, another space, or what `Policy` or `contract.start` refuses.
    """
    if num_trials is not None:
        num_trials = check_count(f"{_NAME}.init", "num_trials", num_trials)
    options = {"num_trials": num_trials, "first_layers": first_layers, "grow_every": grow_every, **asdict(learning)}
    state = contract.start(_NAME, space, options, seed=seed)
    most = getattr(space.dims.get("depth"), "high", 1)
    if space != chains.search_space(most):
        raise ValueError(f"{_NAME}.init: space must be one of chains.search_space, got {space!r}")
    if check_count(f"{_NAME}.init", "first_layers", first_layers) > most:
        raise ValueError(f"{_NAME}.init: first_layers must be at most the largest depth, {most}, got {first_layers}")
    check_count(f"{_NAME}.init", "grow_every", grow_every)
    _policy_of(state)
    return state


def ask(state: State) -> tuple[Trial | None, State]:
    """The controller's next chain, drawn from what it has learnt of all trials told so far; None after the last."""
    contract.check_state(_NAME, state)
    number = len(state.records)
    if number == state.options["num_trials"]:
        return None, state
    draws, layers, code = contract.generator(state, number), layers_at(state, number), {}

    def pick(names: list[str], log_p: Tensor) -> Tensor:
        uniforms = torch.rand(len(names), 1, dtype=torch.float64, generator=draws)
        chosen = (log_p.exp().cumsum(1) <= uniforms).sum(1).clamp_(max=log_p.shape[1] - 1)
        code.update((name, state.space.dims[name].choices[at]) for name, at in zip(names, chosen.tolist(), strict=True))
        return chosen

    with torch.no_grad():
        _walk(_learnt(state).params, layers, pick)
    return contract.add(state, {"depth": layers, **code})


def finished(state: State) -> bool:
    """Whether all trials were asked and told."""
    contract.check_state(_NAME, state)
    return contract.ended(state)


def layers_at(state: State, number: int) -> int:
    """How many layers the chain of this trial has: the limit."""
    grown = state.options["first_layers"] + number // state.options["grow_every"]
    return min(grown, state.space.dims["depth"].high)


def _policy_of(state: State) -> Policy:
    names = Learning.__dataclass_fields__
    return Policy(_SIZES, **{name: state.options[name] for name in names})


def _learnt(state: State) -> Learner:
    how = _policy_of(state)
    width, total = how.width, sum(_SIZES)
    shapes = {
        "embedding": (total + 1, width), "weight": (4 * width, 2 * width), "bias": (4 * width,),
        "heads": (total, width), "w_prev": (width, width), "w_curr": (width, width), "v": (1, width),
    }  # fmt: skip

    def teach(learner: Learner, record: Record) -> Learner:
        slope = partial(_slope, how, state.space, learner.params, record.trial.params)
        return taught(how, learner, slope, reward(record))

    return learnt(state, begin=lambda: begun(shapes, seeds=[seed_of_weights(state)]), teach=teach)


def _slope(how: Policy, space: Space, params: Values, code: Params, advantages: Tensor) -> Values:
    leaves = {name: value.detach().requires_grad_() for name, value in params.items()}
    with torch.enable_grad():
        pick: Pick = lambda names, _: torch.tensor([space.dims[n].choices.index(code[n]) for n in names])  # noqa: E731
        log_prob, entropy = _walk(leaves, code["depth"], pick)
        gain = advantages.sum() * log_prob + how.entropy_weight * entropy
        slopes = torch.autograd.grad(-gain, list(leaves.values()), allow_unused=True, materialize_grads=True)
    return dict(zip(leaves, slopes, strict=True))


def _walk(params: Values, layers: int, pick: Pick) -> tuple[Tensor, Tensor]:
    """Log-probability and entropy of a chain; `pick` gives the choices of these names from their log-probabilities."""
    start = x = params["embedding"][:, :1]
    h = c = torch.zeros_like(x)
    log_prob = entropy = x.new_zeros(())
    anchors: list[Tensor] = []

    def decided(names: list[str], log_p: Tensor) -> Tensor:
        nonlocal log_prob, entropy
        chosen = pick(names, log_p)
        log_prob = log_prob + log_p.gather(1, chosen[:, None]).sum()
        entropy = entropy - (log_p.exp() * log_p).sum()
        return chosen

    for layer in range(layers):
        for part, first, size in zip(_PARTS, (0, _SIZES[0], _SIZES[0] + _SIZES[1]), _SIZES, strict=True):
            h, c = lstm_cell(x, h, c, params["weight"], params["bias"])
            logits = h[0] @ params["heads"][0, first : first + size].mT
            chosen = decided([f"{layer}.{part}"], logits.log_softmax(1))
            x = params["embedding"][:, 1 + first + chosen]
        h, c = lstm_cell(x, h, c, params["weight"], params["bias"])
        if anchors:
            own = (torch.stack(anchors), h[0, 0], params["w_prev"][0], params["w_curr"][0], params["v"][0, 0])
            reads = anchor_probabilities(*own).clamp(_RARE, 1 - _RARE)  # log 0 would make every weight NaN
            decided([f"{layer}.anchor{j}" for j in range(layer)], torch.stack([1 - reads, reads], 1).log())
        anchors.append(h[0, 0])
        x = start
    return log_prob, entropy
