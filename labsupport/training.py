"""Training a network on a `Split`, and measuring one. Device and dtype follow the model and the data."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import Optimizer
from tqdm import tqdm

from labsupport.data import Split, batches
from labsupport.values import check_count, check_generator, check_number, is_finite, number

__all__ = ["History", "Plan", "Score", "evaluate", "fit"]

Loss = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Plan:
    """How long and how to train.

    Attributes:
        num_epochs: passes over the training part; >= 1.
        batch_size: examples in a step; >= 1.
        loss: (output, target) -> mean loss of a batch, a scalar.
        schedule: step -> learning rate, a finite number >= 0, counted from 0 in optimizer updates, set on every
            parameter group before its step; None leaves the optimizer's own.
        progress: show a progress bar on stderr.
    Raises:
        ValueError: a bound above is broken.
    """

    num_epochs: int
    batch_size: int
    loss: Loss = cross_entropy
    schedule: Callable[[int], float] | None = None
    progress: bool = True

    def __post_init__(self) -> None:
        check_count("Plan", "num_epochs", self.num_epochs)
        check_count("Plan", "batch_size", self.batch_size)
        if not callable(self.loss):
            raise ValueError(f"Plan: loss must be a function of (output, target), got {self.loss!r}")
        if self.schedule is not None and not callable(self.schedule):
            raise ValueError(f"Plan: schedule must be a function of the step, or None, got {self.schedule!r}")


class Score(NamedTuple):
    """Mean loss, and the fraction of examples classified wrongly (NaN where there are no classes to compare)."""

    loss: float
    error: float


@dataclass(frozen=True, eq=False, repr=False)
class History:
    """What a run recorded; float64 on the CPU.

    Attributes:
        train_loss: loss of each step's batch, before its update; shape (steps made,).
        valid_loss, valid_error: after each finished epoch; shape (epochs finished,). See `Score`.
        stopped: why the run ended early, naming the step ("step 12: the loss is nan"); "" if it did not.
    """

    train_loss: Tensor
    valid_loss: Tensor
    valid_error: Tensor
    stopped: str = ""

    @property
    def num_steps(self) -> int:
        """Optimizer updates that were made."""
        return len(self.train_loss)

    def __repr__(self) -> str:
        end = f", stopped at {self.stopped}" if self.stopped else ""
        last = ""
        if len(self.valid_loss):
            last = f", valid loss {self.valid_loss[-1]:.4g}, error {self.valid_error[-1]:.4g}"
        return f"History({self.num_steps} steps, {len(self.valid_loss)} epochs{last}{end})"


@dataclass
class _Log:
    """A History in the making: lists that survive an interruption."""

    train_loss: list[float] = field(default_factory=list)
    scores: list[Score] = field(default_factory=list)
    stopped: str = ""

    def close(self) -> History:
        train_loss = torch.tensor(self.train_loss, dtype=torch.float64)
        scores = torch.tensor(self.scores, dtype=torch.float64).view(-1, 2)
        return History(train_loss, scores[:, 0].clone(), scores[:, 1].clone(), self.stopped)


def fit(model: nn.Module, split: Split, optimizer: Optimizer, plan: Plan, *, generator: torch.Generator) -> History:
    """Train `model` in place on `split.train`; after every epoch measure it on `split.valid`.

    The model is in training mode for the steps and in evaluation mode for the measurements; at the end every
    module is back in the mode it came in. A loss that is not finite ends the run before its update, so the
    weights are those that gave it, and a RuntimeWarning names the step; so does a schedule that gives no learning
    rate after step 0. KeyboardInterrupt (the stop button) ends it too. In all these cases the History holds all
    that was recorded and says why it ended in `stopped`.

    Args:
        model: any module; `model(x)` is what `plan.loss` takes. (nn.Dropout draws from torch's global state.)
        split: data on the model's device.
        optimizer: over parameters of `model`.
        plan: epochs, batch size, loss, schedule.
        generator: draws the order of the batches.
    Raises:
        ValueError: model, split and optimizer do not fit together, the loss is no scalar or has no gradient, or the
            schedule gives no learning rate at step 0.
    """
    _check_fit(model, split, optimizer, plan)
    check_generator("fit", generator)
    log = _Log()
    total = plan.num_epochs * math.ceil(len(split.train[0]) / plan.batch_size)
    with _modes_restored(model), tqdm(total=total, desc="fit", unit="step", disable=not plan.progress) as bar:
        try:
            for _ in range(plan.num_epochs):
                _epoch(model, split, optimizer, plan, generator, log, bar)
                if log.stopped:
                    break
                log.scores.append(evaluate(model, *split.valid, loss=plan.loss))
                bar.set_postfix_str(f"valid loss {log.scores[-1].loss:.4g}", refresh=False)
        except KeyboardInterrupt:
            log.stopped = f"step {len(log.train_loss)}: interrupted"
    if log.stopped and not log.stopped.endswith("interrupted"):
        warnings.warn(f"fit: stopped at {log.stopped}", RuntimeWarning, stacklevel=2)
    return log.close()


def _epoch(
    model: nn.Module, split: Split, optimizer: Optimizer, plan: Plan, generator: torch.Generator, log: _Log, bar: tqdm
) -> None:
    model.train()
    for x, y in batches(*split.train, plan.batch_size, generator=generator):
        step = len(log.train_loss)
        if plan.schedule is not None:
            log.stopped = _set_rate(optimizer, plan.schedule(step), step)
            if log.stopped:
                return
        loss = _scalar("fit", plan.loss(model(x), y))
        if not loss.requires_grad:
            raise ValueError(
                "fit: loss must have a gradient in the model's parameters, got none: is it computed "
                "with argmax, detach or item, or fit called under torch.no_grad?"
            )
        if not is_finite(loss):
            log.stopped = f"step {step}: the loss is {number(loss)}"
            return
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        log.train_loss.append(number(loss))
        bar.update()


def _set_rate(optimizer: Optimizer, lr: float, step: int) -> str:
    """Set the rate of every group. One that is none is refused at step 0; later it is a reason to stop."""
    try:
        check_number("fit", f"schedule({step})", lr, low=0.0)
    except ValueError:
        if step == 0:
            raise
        return f"step {step}: the schedule gives {lr!r}"
    for group in optimizer.param_groups:
        group["lr"] = lr
    return ""


@torch.no_grad()
def evaluate(model: nn.Module, x: Tensor, y: Tensor, *, loss: Loss = cross_entropy, batch_size: int = 1024) -> Score:
    """Mean loss and error of `model` on (x, y), in evaluation mode, without gradients; the modes are restored.

    Args:
        model: any module.
        x, y: n >= 1 examples on the model's device.
        loss: (output, target) -> mean loss of a batch.
        batch_size: examples at once; changes memory, not the result.
    Returns:
        Score(loss, error). The error is the fraction of rows whose largest output is not at y, or that hold a NaN;
        it is NaN unless y holds class numbers, shape (n,), and the output has shape (n, classes >= 2).
    Raises:
        ValueError: shapes or devices do not fit, or the loss is no scalar.
    """
    batch_size = check_count("evaluate", "batch_size", batch_size)
    _check_model("evaluate", model)
    if not callable(loss):
        raise ValueError(f"evaluate: loss must be a function of (output, target), got {loss!r}")
    if not isinstance(x, Tensor) or not isinstance(y, Tensor) or not x.ndim or not y.ndim:
        kinds = f"{type(x).__name__} and {type(y).__name__}"
        raise ValueError(f"evaluate: x and y must be tensors of n rows, got {kinds}")
    _check_kind("evaluate", "x", model, x)
    if x.device != y.device:
        raise ValueError(f"evaluate: y must be on x's device {x.device}, got {y.device}")
    if len(x) != len(y) or len(x) < 1:
        raise ValueError(f"evaluate: x and y must have equally many rows, at least 1, got {len(x)} and {len(y)}")
    total, wrong = 0.0, 0.0
    with _modes_restored(model):
        model.eval()
        for inputs, targets in zip(x.split(batch_size), y.split(batch_size), strict=True):
            output = model(inputs)
            total += number(_scalar("evaluate", loss(output, targets))) * len(inputs)
            wrong += _count_wrong(output, targets)
    return Score(total / len(x), wrong / len(x))


def _count_wrong(output: Tensor, targets: Tensor) -> float:
    if not isinstance(output, Tensor) or output.ndim != 2 or output.shape[1] < 2:
        return math.nan
    if targets.is_floating_point() or targets.ndim != 1:
        return math.nan
    return number(((output.argmax(1) != targets) | output.isnan().any(1)).sum())


def _scalar(where: str, loss: Tensor) -> Tensor:
    if not isinstance(loss, Tensor) or loss.ndim != 0 or not loss.is_floating_point():
        got = f"shape {tuple(loss.shape)} of {loss.dtype}" if isinstance(loss, Tensor) else type(loss).__name__
        raise ValueError(f"{where}: loss must return a scalar tensor, the mean over the batch, got {got}")
    return loss


@contextmanager
def _modes_restored(model: nn.Module) -> Iterator[None]:
    modes = [(module, module.training) for module in model.modules()]
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def _check_model(where: str, model: nn.Module) -> None:
    if not isinstance(model, nn.Module):
        raise ValueError(f"{where}: model must be a torch.nn.Module, got {type(model).__name__}")


def _check_kind(where: str, name: str, model: nn.Module, x: Tensor) -> None:
    """The device of the first parameter, and the dtype of some parameter where x is floating."""
    parameter = next(model.parameters(), None)
    if parameter is not None and parameter.device != x.device:
        raise ValueError(f"{where}: {name} must be on the model's device {parameter.device}, got {x.device}")
    dtypes = {parameter.dtype for parameter in model.parameters()}
    if dtypes and x.is_floating_point() and x.dtype not in dtypes:
        raise ValueError(f"{where}: {name} must have the model's dtype {parameter.dtype}, got {x.dtype}")


def _check_fit(model: nn.Module, split: Split, optimizer: Optimizer, plan: Plan) -> None:
    _check_model("fit", model)
    if not isinstance(split, Split):
        raise ValueError(f"fit: split must be a data.Split, got {type(split).__name__}")
    if not isinstance(plan, Plan):
        raise ValueError(f"fit: plan must be a training.Plan, got {type(plan).__name__}")
    if not isinstance(optimizer, Optimizer) or isinstance(optimizer, torch.optim.LBFGS):
        rule = "optimizer must be a torch.optim.Optimizer that steps without a closure"
        raise ValueError(f"fit: {rule}, got {getattr(optimizer, '__name__', type(optimizer).__name__)}")
    _check_kind("fit", "split", model, split.train[0])
    own = {id(parameter) for parameter in model.parameters() if parameter.requires_grad}
    if not any(id(parameter) in own for group in optimizer.param_groups for parameter in group["params"]):
        raise ValueError("fit: optimizer must hold parameters of the model, got none of them that requires a gradient")
