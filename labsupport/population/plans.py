"""How a population is trained."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor
from torch.nn.functional import cross_entropy

from labsupport.values import check_choice, check_count

__all__ = ["Plan"]


@dataclass(frozen=True)
class Plan:
    """How long and how to train.

    Attributes:
        num_epochs: passes over the training part; >= 1. A pass is ⌊n / batch_size⌋ full batches.
        batch_size: examples in a step; >= 1. That of the whole training part means full batches, unshuffled.
        loss: (output, target) -> mean loss of a batch, a scalar. Cross-entropy on labels is batched by hand, another
            goes by `torch.func.vmap`. It may take more by keyword, such as a temperature: the settings called
            `loss.<name>`.
        order: "own", each member's from its seed; or "shared", one for all.
        schedule: setting -> (step -> factor), a number >= 0 or a tensor (members,), by which the setting is
            multiplied in that step. Steps count optimizer updates from 0.
        valid_every: epochs from one validation to the next; the last epoch is always followed by one. 0 is none.
        slab: members computed at once; None follows the written rule, 1 is one after another.
        backend: "compiled", "eager", or "auto", which follows the written rule.
        save: where the state is kept after every epoch, and taken up again from; None keeps nothing.
        progress: show a progress bar on stderr.
        penalty: (params, settings) -> a scalar that is added to each batch's loss, not to what is measured, or None.
            Params are a member's by name; settings all of its settings by name, those called `penalty.<name>` also as
            `<name>`. It is part of `train_loss`.
    Raises:
        ValueError: a bound above is broken.
    """

    num_epochs: int
    batch_size: int
    loss: Callable[..., Tensor] = cross_entropy
    order: str = "own"
    schedule: Mapping[str, Callable[[int], float | Tensor]] = field(default_factory=dict)
    valid_every: int = 1
    slab: int | None = None
    backend: str = "auto"
    save: str | Path | None = None
    progress: bool = True
    penalty: Callable[[dict[str, Tensor], dict[str, Tensor]], Tensor] | None = None

    def __post_init__(self) -> None:
        for name in ("num_epochs", "batch_size"):
            check_count("Plan", name, getattr(self, name))
        check_count("Plan", "valid_every", self.valid_every, at_least=0)
        if not callable(self.loss) or type(self.loss).__hash__ is None:
            raise ValueError(f"Plan: loss must be a hashable function of (output, target), got {self.loss!r}")
        if self.penalty is not None and (not callable(self.penalty) or type(self.penalty).__hash__ is None):
            raise ValueError(f"Plan: penalty must be a hashable function of (params, settings), got {self.penalty!r}")
        check_choice("Plan", "order", self.order, ("own", "shared"))
        check_choice("Plan", "backend", self.backend, ("auto", "compiled", "eager"))
        if self.slab is not None:
            check_count("Plan", "slab", self.slab)
        if not isinstance(self.schedule, Mapping) or not all(map(callable, self.schedule.values())):
            raise ValueError(f"Plan: schedule must map settings to functions of the step, got {self.schedule!r}")
        if self.save is not None and (not isinstance(self.save, (str, Path)) or not Path(self.save).name):
            raise ValueError(f"Plan: save must name a file, got {self.save!r}")
