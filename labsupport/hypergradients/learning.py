"""Learning hyperparameters by their gradients, and finding the rate at which to learn them."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from labsupport import files, optimizers
from labsupport.hypergradients.gradients import Method, hypergradient, trained
from labsupport.hypergradients.problem import Hypergradient, Named, Problem, check_tensors
from labsupport.hypergradients.steps import BACKENDS
from labsupport.values import check_choice, check_count, check_generator, check_number

__all__ = ["Learnt", "MetaPlan", "meta_optimize", "search_rate"]

Slots = dict[str, Named]
ADAM = optimizers.adam()


@dataclass(frozen=True)
class MetaPlan:
    """How hyperparameters are learnt.

    Attributes:
        num_steps: meta-steps, each a whole training; >= 1.
        lr: of the meta-steps, in the hyperparameters' units; > 0.
        rule: "adam"; or "sign": every hyperparameter moves by lr against the sign of its gradient and stays where that
            is 0.
        backend: "eager", "compiled", or "auto"; see `hypergradient`.
        limit: see `hypergradient`.
        save: a file, written after every meta-step and taken up where it exists; None for none.
        progress: whether a bar is shown.
    Raises:
        ValueError: a bound above is broken.
    """

    num_steps: int
    lr: float
    rule: str = "adam"
    backend: str = "eager"
    limit: float = 1e8
    save: str | Path | None = None
    progress: bool = False

    def __post_init__(self) -> None:
        check_count("MetaPlan", "num_steps", self.num_steps)
        if check_number("MetaPlan", "lr", self.lr, low=0.0) == 0:
            raise ValueError(f"MetaPlan: lr must be > 0, got {self.lr!r}")
        check_choice("MetaPlan", "rule", self.rule, ("adam", "sign"))
        check_choice("MetaPlan", "backend", self.backend, BACKENDS)


@dataclass(frozen=True, eq=False, repr=False)
class Learnt:
    """Hyperparameters and how they came about.

    Attributes:
        hyper: after the last meta-step.
        history: name -> (meta-steps + 1, …), the start first.
        valid_loss: (meta-steps,), before each.
        judged: (meta-steps,), the judge's number before each; empty without a judge.
        slots: the rule's state.
        stopped: why it ended early; "" where all steps were made.
    """

    hyper: Named
    history: Named
    valid_loss: Tensor
    judged: Tensor
    slots: Slots = field(default_factory=dict)
    stopped: str = ""

    def __repr__(self) -> str:
        end = f", stopped: {self.stopped}" if self.stopped else ""
        return f"Learnt({len(self.valid_loss)} meta-steps{end})"


def meta_optimize(
    problem_at: Callable[[int], Problem], hyper: Named, method: Method, plan: MetaPlan,
    *, judge: Callable[[Named], float] | None = None,
) -> Learnt:  # fmt: skip
    """Train, take the hypergradient, move the hyperparameters, and again.

    A gradient that is not finite, an adjoint that grows beyond the plan's limit and the stop button end it with a
    warning; what was learnt until then is returned, and is in the file.

    Args:
        problem_at: meta-step -> problem. One that does not look at its argument learns for one start and one order,
            which it may come to know by heart; one that draws a new start from it learns for starts in general.
        hyper: where they start.
        method: of the hypergradient.
        plan: steps, rate, file.
        judge: trained weights -> a number to be noted, such as the error on a third split, which nothing learns from.
    Raises:
        ValueError: something does not fit, or `plan.save` holds another run.
    """
    _check_arguments("meta_optimize", problem_at, plan, judge)
    check_tensors("meta_optimize", "hyper", hyper)
    log = _begun(hyper)
    note = _note(plan, log, method, judge)
    log = _taken_up(plan, log, note)
    with tqdm(total=plan.num_steps - len(log.valid_loss), desc="learn", disable=not plan.progress) as bar:
        while len(log.valid_loss) < plan.num_steps:
            at = len(log.valid_loss)
            try:
                log = _stepped(problem_at(at), log, method, plan, judge)
            except (FloatingPointError, KeyboardInterrupt) as problem:
                why = f"meta-step {at}: {str(problem) or 'interrupted'}"
                warnings.warn(f"meta_optimize: stopped at {why}", RuntimeWarning, stacklevel=2)
                return replace(log, stopped=why)
            if plan.save is not None:
                files.write(Path(plan.save), _packed(log), note)
            bar.update()
    return log


def search_rate(
    problem_at: Callable[[int], Problem], hyper: Named, method: Method, plan: MetaPlan,
    *, between: tuple[float, float], generator: torch.Generator,
) -> tuple[float, list[tuple[float, float, float]]]:  # fmt: skip
    """A rate for the meta-steps by random search: draw until one meta-step lowers the validation loss.

    The hypergradient is taken once; each rate tried costs one training more. `plan.num_steps` is the largest number of
    tries; `lr` and `save` of the plan are not used.

    Args:
        problem_at, hyper, method: as in `meta_optimize`; the problem of meta-step 0 judges all rates.
        between: (low, high), 0 < low < high; rates are drawn there, evenly in their logarithm.
        generator: draws them.
    Returns:
        the first rate that lowers the loss, else the one with the lowest, and the tries: (rate, loss before, after);
        the loss after is infinity where training diverges.
    Raises:
        ValueError: a bound above is broken.
        FloatingPointError: the training before the tries, or its hypergradient, is not finite.
    Source: Fu et al. 2016, arXiv:1601.00917, and the notes on its super-parameters.
    """
    _check_arguments("search_rate", problem_at, plan)
    check_generator("search_rate", generator)
    low, high = _check_ends(between)
    problem, tries = problem_at(0), []
    found = _finite(problem, hyper, method, plan)
    for _ in tqdm(range(plan.num_steps), desc="search", disable=not plan.progress):
        share = float(torch.rand((), generator=generator, dtype=torch.float64))
        rate = math.exp(math.log(low) + share * (math.log(high) - math.log(low)))
        moved, _ = _moved(found.grad, ADAM.init(hyper), hyper, replace(plan, lr=rate))
        try:
            _, after = trained(problem, moved, backend=plan.backend)
        except FloatingPointError:  # so large a rate that training diverges
            after = math.inf
        tries.append((rate, found.valid_loss, after))
        if after < found.valid_loss:
            return rate, tries
    return min(tries, key=lambda one: one[2])[0], tries


def _check_ends(between: tuple[float, float]) -> tuple[float, float]:
    if not isinstance(between, (tuple, list)) or len(between) != 2:
        raise ValueError(f"search_rate: between must be (low, high), got {between!r}")
    low, high = (check_number("search_rate", "between", each) for each in between)
    if not 0 < low < high:
        raise ValueError(f"search_rate: between must be (low, high) with 0 < low < high, got {between!r}")
    return low, high


def _check_arguments(where: str, problem_at: Callable, plan: MetaPlan, judge: Callable | None = None) -> None:
    if not isinstance(plan, MetaPlan):
        raise ValueError(f"{where}: plan must be a MetaPlan, got {plan!r}")
    if not callable(problem_at):
        raise ValueError(f"{where}: problem_at must be a function, got a {type(problem_at).__name__}")
    if judge is not None and not callable(judge):
        raise ValueError(f"{where}: judge must be a function, got {judge!r}")


def _begun(hyper: Named) -> Learnt:
    start = {name: value.detach().clone() for name, value in hyper.items()}
    empty = torch.empty(0, dtype=torch.float64)
    return Learnt(start, {name: value[None] for name, value in start.items()}, empty, empty, ADAM.init(start))


def _stepped(problem: Problem, log: Learnt, method: Method, plan: MetaPlan, judge: Callable | None) -> Learnt:
    found = _finite(problem, log.hyper, method, plan)
    hyper, slots = _moved(found.grad, log.slots, log.hyper, plan)
    noted = [] if judge is None else [float(judge(found.weights))]
    return Learnt(
        hyper,
        {name: torch.cat([past, hyper[name][None]]) for name, past in log.history.items()},
        torch.cat([log.valid_loss, log.valid_loss.new_tensor([found.valid_loss])]),
        torch.cat([log.judged, log.judged.new_tensor(noted)]),
        slots,
    )


def _finite(problem: Problem, hyper: Named, method: Method, plan: MetaPlan) -> Hypergradient:
    found = hypergradient(problem, hyper, method, backend=plan.backend, limit=plan.limit)
    if not found.finite:
        raise FloatingPointError(
            "the hypergradient must be finite: take fewer steps back, or train with a smaller rate"
        )
    return found


def _moved(grad: Named, slots: Slots, hyper: Named, plan: MetaPlan) -> tuple[Named, Slots]:
    if plan.rule == "sign":
        return {name: value - plan.lr * grad[name].sign() for name, value in hyper.items()}, slots
    return ADAM.update(grad, slots, hyper, {**ADAM.defaults, "lr": plan.lr})


def _packed(log: Learnt) -> Named:
    tensors = {"valid_loss": log.valid_loss, "judged": log.judged}
    tensors |= {f"history/{name}": value for name, value in log.history.items()}
    return tensors | {f"slots/{slot}/{name}": value for slot, each in log.slots.items() for name, value in each.items()}


def _note(plan: MetaPlan, log: Learnt, method: Method, judge: Callable | None) -> dict[str, object]:
    """What makes two runs the same one, but for the start, which is in the history, and the problems."""
    shapes = {name: list(value.shape) for name, value in log.hyper.items()}
    about = {"kind": "meta_optimize", "rule": plan.rule, "lr": float(plan.lr), "method": repr(method)}
    return about | {"judge": judge is not None, "hyper": shapes}


def _taken_up(plan: MetaPlan, log: Learnt, note: dict[str, object]) -> Learnt:
    """What the plan's file holds, else the start."""
    if plan.save is None:
        return log
    files.check_place("meta_optimize", "save", plan.save)
    path = Path(plan.save)
    if not path.exists():
        return log
    try:
        tensors, found = files.read(path)
    except files.UNREADABLE as problem:
        raise ValueError(f"meta_optimize: save must be a file of this run, got {path} ({problem})") from problem
    if found != note:
        raise ValueError(f"meta_optimize: {path} must hold this run, {note}, got {found}")
    wanted, rows = _packed(log), len(tensors.get("valid_loss", ()))
    if {k: v.dtype for k, v in tensors.items()} != {k: v.dtype for k, v in wanted.items()} or any(
        len(tensors[f"history/{name}"]) != rows + 1 for name in log.hyper
    ):
        raise ValueError(f"meta_optimize: {path} must hold this run, got other tensors: {', '.join(tensors)}")
    history = {name: tensors[f"history/{name}"].to(value.device) for name, value in log.hyper.items()}
    if not all(torch.equal(history[name][0], value) for name, value in log.hyper.items()):
        raise ValueError(f"meta_optimize: {path} must hold a run from this start, got another start")
    if len(tensors["valid_loss"]) > plan.num_steps:
        raise ValueError(f"meta_optimize: {path} must hold at most {plan.num_steps} meta-steps, got more")
    slots = {slot: {k: tensors[f"slots/{slot}/{k}"].to(v.device) for k, v in each.items()}
             for slot, each in log.slots.items()}  # fmt: skip
    last = {name: value[-1].clone() for name, value in history.items()}
    return Learnt(last, history, tensors["valid_loss"], tensors["judged"], slots)
