"""A recurrent network that makes one decision after another, and REINFORCE, which teaches it from rewards alone.

Many of them learn side by side: every tensor has an axis of runs in front, and one pass moves all. torch's LSTM cells
have no rule for such a batch, so the cell is written out.

    learner = start(policy, seeds=range(50))
    decisions = decide(policy, learner.params, uniforms)              # uniforms (50, 1, decisions)
    learner = learn(policy, learner, decisions.choices[:, 0], rewards)

Source: Zoph & Le 2017, arXiv:1611.01578, section 3; bounded logits: Pham et al. 2018, arXiv:1802.03268.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from labsupport.counters import seeded
from labsupport.optimizers import adam
from labsupport.population.updates import update
from labsupport.values import check_count, check_number, holds

__all__ = [
    "Decisions", "Learner", "Policy", "begun", "decide", "gradients", "learn", "lstm_cell", "score", "start", "taught",
]  # fmt: skip

Params = dict[str, Tensor]
_ADAM = adam()
_SPREAD = 0.1


@dataclass(frozen=True)
class Policy:
    """What is decided, by what kind of network, and how it learns.

    Attributes:
        sizes: how many choices each decision has; one or more, each >= 1.
        width: of the recurrent state, >= 1.
        lr: Adam's rate, > 0.
        baseline_decay: what the moving average of rewards keeps of itself at each reward, in [0, 1).
        entropy_weight: what a nat of entropy is worth, in units of the reward; >= 0.
        bounds: for each decision the c of c · tanh(logit / temperature), > 0; None leaves logits as they are.
        temperature: > 0; it divides logits.
    Raises:
        ValueError: a bound above is broken.
    """

    sizes: tuple[int, ...]
    width: int = 16
    lr: float = 0.01
    baseline_decay: float = 0.9
    entropy_weight: float = 0.0
    bounds: tuple[float, ...] | None = None
    temperature: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "sizes", tuple(check_count("Policy", "sizes", size) for size in self.sizes))
        if not self.sizes or (self.bounds is not None and len(self.bounds) != len(self.sizes)):
            raise ValueError(f"Policy: sizes must name a decision, and bounds one for each, got {self!r}")
        check_count("Policy", "width", self.width)
        above = [("lr", self.lr), ("temperature", self.temperature), *(("bounds", c) for c in self.bounds or ())]
        for name, value in above:
            if check_number("Policy", name, value, low=0.0) == 0:
                raise ValueError(f"Policy: {name} must be > 0, got {value!r}")
        check_number("Policy", "entropy_weight", self.entropy_weight, low=0.0)
        if check_number("Policy", "baseline_decay", self.baseline_decay, low=0.0, high=1.0) == 1:
            raise ValueError(f"Policy: baseline_decay must be below 1, got {self.baseline_decay!r}")


class Decisions(NamedTuple):
    """What was decided: `choices` (runs, samples, decisions) integers; their log-probability and the sum of the
    decisions' entropies in nats, both (runs, samples)."""

    choices: Tensor
    log_probs: Tensor
    entropy: Tensor


class Learner(NamedTuple):
    """Networks that learn: `params` (runs, …), Adam's `slots`, and `baseline` (runs,), NaN before the first reward."""

    params: Params
    slots: dict[str, Params]
    baseline: Tensor


def start(policy: Policy, *, seeds: Sequence[int]) -> Learner:
    """A network for each seed, weights uniform in ±0.1, biases 0, in float64 on the CPU."""
    total, width = sum(policy.sizes), policy.width
    shapes = {"embedding": (total + 1, width), "weight": (4 * width, 2 * width), "heads": (total, width)}
    return begun(shapes | {"bias": (4 * width,)}, seeds=seeds)


def begun(shapes: Mapping[str, tuple[int, ...]], *, seeds: Sequence[int]) -> Learner:
    """As `start`, for parameters of any shapes; those of one axis are biases."""
    params = {name: torch.zeros(len(seeds), *shape, dtype=torch.float64) for name, shape in shapes.items()}
    for run, seed in enumerate(seeds):
        draws = seeded(seed)
        for value in params.values():
            if value.ndim > 2:
                value[run].uniform_(-_SPREAD, _SPREAD, generator=draws)
    slots = tree_map(torch.clone, torch.func.vmap(_ADAM.init)(params))
    return Learner(params, slots, torch.full((len(seeds),), math.nan, dtype=torch.float64))


def lstm_cell(x: Tensor, h: Tensor, c: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """The next (h, c) of an LSTM, for all runs.

    Args:
        x: (runs, samples, inputs).
        h, c: (runs, samples, width).
        weight: (runs, 4 · width, inputs + width), rows of the gates in, forget, cell, out; columns of x, then of h.
        bias: (runs, 4 · width).
    """
    gates = torch.baddbmm(bias[:, None], torch.cat([x, h], -1), weight.mT)
    keep, forget, new, show = gates.chunk(4, -1)
    c = forget.sigmoid() * c + keep.sigmoid() * new.tanh()
    return show.sigmoid() * c.tanh(), c


def decide(policy: Policy, params: Params, uniforms: Tensor) -> Decisions:
    """Draw every decision, each from a softmax that has seen the ones before.

    Args:
        params: of `start`, (runs, …).
        uniforms: (runs, samples, decisions) in [0, 1): where each decision falls in its cumulated probabilities.
    """
    _check_shape("decide", "uniforms", uniforms, policy, params)

    def pick(k: int, log_p: Tensor) -> Tensor:
        below = log_p.detach().exp().cumsum(-1) <= uniforms[..., k, None]
        return below.sum(-1).clamp_(max=policy.sizes[k] - 1)

    return _walk(policy, params, pick, uniforms.shape[1])


def score(policy: Policy, params: Params, choices: Tensor) -> Decisions:
    """What the networks think of decisions that were made: (runs, samples, decisions) integers."""
    _check_shape("score", "choices", choices, policy, params)
    return _walk(policy, params, lambda k, _: choices[..., k], choices.shape[1])


def gradients(policy: Policy, params: Params, choices: Tensor, advantages: Tensor) -> Params:
    """The descent direction of REINFORCE: of −mean(advantage · log p + entropy_weight · entropy) over the samples.

    With drawn choices the first term estimates the gradient of each run's expected reward without bias, as long as
    what was subtracted from a reward does not depend on its choices. The second is the gradient of the entropies met
    on the way; that other choices would have met others is left out.

    Args:
        choices: (runs, samples, decisions).
        advantages: (runs, samples), rewards less a baseline.
    Raises:
        ValueError: shapes that do not fit.
    Source: Williams 1992, doi:10.1007/BF00992696; Zoph & Le 2017, section 3.2.
    """
    if advantages.shape != choices.shape[:2]:
        wanted, found = tuple(choices.shape[:2]), tuple(advantages.shape)
        raise ValueError(f"gradients: advantages must have shape {wanted}, one for each code, got {found}")
    leaves = {name: value.detach().requires_grad_() for name, value in params.items()}
    with torch.enable_grad():
        found = score(policy, leaves, choices)
        gain = advantages * found.log_probs
        if policy.entropy_weight:
            gain = gain + policy.entropy_weight * found.entropy
        slopes = torch.autograd.grad(-gain.mean(1).sum(), list(leaves.values()))
    return dict(zip(leaves, slopes, strict=True))


def learn(policy: Policy, learner: Learner, choices: Tensor, rewards: Tensor) -> Learner:
    """A step of each run on one decided code and its reward; see `taught`.

    Args:
        choices: (runs, decisions) integers.
        rewards: (runs,), larger is better.
    """

    def slope(advantages: Tensor) -> Params:
        return gradients(policy, learner.params, choices[:, None], advantages[:, None])

    return taught(policy, learner, slope, rewards)


def taught(policy: Policy, learner: Learner, slope: Callable[[Tensor], Params], rewards: Tensor) -> Learner:
    """A step of each run along `slope` of the advantages (runs,): rewards less the moving average of those before.

    Each reward joins the average afterwards. The first one becomes the average and teaches nothing; NaN, a failed
    trial, leaves its run as it was.

    Args:
        rewards: (runs,), larger is better.
    Raises:
        ValueError: another number of rewards than runs.
    """
    if rewards.shape != learner.baseline.shape:
        wanted, found = tuple(learner.baseline.shape), tuple(rewards.shape)
        raise ValueError(f"taught: rewards must have shape {wanted}, one for each run, got {found}")
    learns = rewards.isfinite() & learner.baseline.isfinite()
    grads = slope(torch.where(learns, rewards - learner.baseline, 0.0))
    moved = update(_ADAM, grads, learner.slots, learner.params, {**_ADAM.defaults, "lr": policy.lr})

    def chosen(new: Tensor, old: Tensor) -> Tensor:
        return new.where(learns.view(-1, *[1] * (new.ndim - 1)), old)

    params, slots = moved if holds(learns) else tree_map(chosen, moved, (learner.params, learner.slots))
    mixed = policy.baseline_decay * learner.baseline + (1 - policy.baseline_decay) * rewards
    baseline = torch.where(learner.baseline.isnan(), rewards, mixed)
    return Learner(params, slots, baseline.where(rewards.isfinite(), learner.baseline))


def _walk(policy: Policy, params: Params, pick: Callable[[int, Tensor], Tensor], samples: int) -> Decisions:
    """All decisions in order; `pick` gives the (runs, samples) choices of decision k from its log-probabilities."""
    table, runs = params["embedding"], torch.arange(len(params["bias"]), device=params["bias"].device)[:, None]
    x = table[:, :1].expand(-1, samples, -1)
    h = c = torch.zeros_like(x)
    choices, log_probs, entropy, first = [], 0.0, 0.0, 0
    for k, size in enumerate(policy.sizes):
        h, c = lstm_cell(x, h, c, params["weight"], params["bias"])
        logits = torch.bmm(h, params["heads"][:, first : first + size].mT) / policy.temperature
        if policy.bounds is not None:
            logits = policy.bounds[k] * logits.tanh()
        log_p = logits.log_softmax(-1)
        chosen = pick(k, log_p)
        log_probs = log_probs + log_p.gather(-1, chosen[..., None]).squeeze(-1)
        entropy = entropy - (log_p.exp() * log_p).sum(-1)
        choices.append(chosen)
        x = table[runs, 1 + first + chosen]
        first += size
    return Decisions(torch.stack(choices, -1), log_probs, entropy)


def _check_shape(where: str, name: str, value: Tensor, policy: Policy, params: Params) -> None:
    runs, wanted = len(params["bias"]), len(policy.sizes)
    if value.ndim != 3 or value.shape[0] != runs or value.shape[2] != wanted:
        raise ValueError(f"{where}: {name} must have shape ({runs}, samples, {wanted}), got {tuple(value.shape)}")
