"""A recurrent controller that decides a setting of categories, one after another, and learns from what they were worth.

    state = controller.init(space, num_trials=60, seed=0)
    trial, state = controller.ask(state)
    state = controller.tell(state, trial, -accuracy)

As with every strategy of `search`, smaller values are better, so the reward is the value with its sign changed. No
gradient comes from what was built and trained: only the number. `replay` plays many searches at once on a table of
rewards.

Source: Zoph & Le 2017, arXiv:1611.01578, section 3; one update a trial is ours (the paper's are of batches).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from labsupport.nas import policy
from labsupport.nas.learning import learnt, reward, seed_of_weights
from labsupport.nas.policy import Learner, Policy
from labsupport.search import contract
from labsupport.search.contract import Record, State, Trial, tell
from labsupport.search.space import Categorical, Params, Space
from labsupport.values import check_count

__all__ = ["USUAL", "Learning", "anchor_probabilities", "ask", "finished", "init", "policy_for", "replay", "tell"]

_NAME = "controller"


@dataclass(frozen=True)
class Learning:
    """How a controller learns; see `policy.Policy`, which refuses what is out of bounds."""

    lr: float = 0.03
    baseline_decay: float = 0.9
    entropy_weight: float = 0.0
    width: int = 16


USUAL = Learning()


def init(space: Space, *, num_trials: int | None = None, learning: Learning = USUAL, seed: int) -> State:
    """A study of `num_trials` settings; without end where that is None.

    Raises:
        ValueError: num_trials < 1, a dimension that is no Categorical or exists only sometimes, what `Policy` refuses,
            or what `contract.start` refuses.
    """
    if num_trials is not None:
        num_trials = check_count(f"{_NAME}.init", "num_trials", num_trials)
    state = contract.start(_NAME, space, {"num_trials": num_trials, **asdict(learning)}, seed=seed)
    policy_for(space, learning)
    return state


def ask(state: State) -> tuple[Trial | None, State]:
    """The controller's next setting, drawn from what it has learnt of all trials told so far; None after the last.

    It has learnt from the told trials in the order of their numbers, one step each; failed ones teach nothing.
    """
    contract.check_state(_NAME, state)
    number = len(state.records)
    if number == state.options["num_trials"]:
        return None, state
    how = _policy_of(state)
    with torch.no_grad():
        made = policy.decide(how, _learnt(state).params, _uniforms(state, number, how)[None, None])
    return contract.add(state, _setting(state.space, made.choices[0, 0].tolist()))


def finished(state: State) -> bool:
    """Whether all trials were asked and told."""
    contract.check_state(_NAME, state)
    return contract.ended(state)


def policy_for(space: Space, learning: Learning) -> Policy:
    """The policy whose decisions are the dimensions of a space, in order.

    Raises:
        ValueError: a dimension is no Categorical or exists only sometimes, or what `Policy` refuses.
    """
    sizes = [len(dim.choices) if isinstance(dim, Categorical) else 0 for dim in space.dims.values()]
    if not all(sizes) or space.when:
        raise ValueError(f"{_NAME}: space must have Categorical dimensions alone, which always exist, got {space!r}")
    return Policy(tuple(sizes), **asdict(learning))


def replay(
    space: Space, rewards: Tensor, *, num_trials: int, learning: Learning = USUAL, seeds: Sequence[int]
) -> Tensor:
    """Many searches at once on known rewards: the same trials as `ask` and `tell` make, run by run.

    Args:
        rewards: (codes,) for all runs, or (runs, codes); one for each setting, the last dimension changing fastest.
            Larger is better; NaN is a training that fails.
        seeds: one for each run.
    Returns:
        (runs, num_trials) integers: which setting each trial was.
    Raises:
        ValueError: another number of rewards than settings, no seed, or what `init` refuses.
    """
    how, count = policy_for(space, learning), check_count("replay", "num_trials", num_trials)
    states = [init(space, learning=learning, seed=seed) for seed in seeds]
    total = torch.tensor(how.sizes).prod().item()
    if not states or rewards.shape not in ((total,), (len(states), total)):
        raise ValueError(f"replay: rewards must be ({total},), or that for each seed, got {tuple(rewards.shape)}")
    rewards = rewards.double().expand(len(states), total)
    place = torch.tensor([*how.sizes[1:], 1]).flip(0).cumprod(0).flip(0)
    learner, rows = _begun(how, states), []
    for number in range(count):
        uniforms = torch.stack([_uniforms(state, number, how) for state in states])
        with torch.no_grad():
            choices = policy.decide(how, learner.params, uniforms[:, None]).choices[:, 0]
        rows.append((choices * place).sum(1))
        if number + 1 < count:
            learner = policy.learn(how, learner, choices, rewards.gather(1, rows[-1][:, None])[:, 0])
    return torch.stack(rows, 1)


def anchor_probabilities(previous: Tensor, current: Tensor, w_prev: Tensor, w_curr: Tensor, v: Tensor) -> Tensor:
    """How likely each earlier layer is an input of this one: P(j → i) = sigmoid(vᵀ tanh(W_prev h_j + W_curr h_i)).

    Args:
        previous: (j, h), the controller's states at the anchors of the earlier layers.
        current: (h,), its state at this layer's.
        w_prev, w_curr: (a, h), acting from the left.
        v: (a,).
    Returns:
        (j,) probabilities; they need not sum to 1: each skip is a coin of its own.
    Raises:
        ValueError: no tensors, or shapes that do not fit.
    Source: Zoph & Le 2017, arXiv:1611.01578, section 3.3.
    """
    for value in (previous, current, w_prev, w_curr, v):
        if not isinstance(value, Tensor) or not value.is_floating_point():
            kind = value.dtype if isinstance(value, Tensor) else type(value).__name__
            raise ValueError(f"anchor_probabilities: all must be tensors of floating point, got {kind}")
    fits = previous.ndim == 2 and current.ndim == v.ndim == 1 and previous.shape[1:] == current.shape
    if not fits or not w_prev.shape == w_curr.shape == (len(v), len(current)):
        shapes = ", ".join(str(tuple(value.shape)) for value in (previous, current, w_prev, w_curr, v))
        raise ValueError(f"anchor_probabilities: shapes must be (j, h), (h,), (a, h), (a, h), (a,), got {shapes}")
    return ((previous @ w_prev.mT + w_curr @ current).tanh() @ v).sigmoid()


def _setting(space: Space, choices: list[int]) -> Params:
    return {name: dim.choices[at] for (name, dim), at in zip(space.dims.items(), choices, strict=True)}


def _policy_of(state: State) -> Policy:
    names = Learning.__dataclass_fields__
    return policy_for(state.space, Learning(**{name: state.options[name] for name in names}))


def _begun(how: Policy, states: Sequence[State]) -> Learner:
    return policy.start(how, seeds=[seed_of_weights(state) for state in states])


def _uniforms(state: State, number: int, how: Policy) -> Tensor:
    return torch.rand(len(how.sizes), dtype=torch.float64, generator=contract.generator(state, number))


def _learnt(state: State) -> Learner:
    how = _policy_of(state)

    def teach(learner: Learner, record: Record) -> Learner:
        places = [dim.choices.index(record.trial.params[name]) for name, dim in state.space.dims.items()]
        return policy.learn(how, learner, torch.tensor([places]), reward(record))

    return learnt(state, begin=lambda: _begun(how, [state]), teach=teach)
