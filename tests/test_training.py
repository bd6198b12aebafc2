"""fit and evaluate against a loop written by hand, and what happens when a run goes wrong."""

import math

import pytest
import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, mse_loss

from labsupport import data, models
from labsupport.training import Plan, Score, evaluate, fit


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def split():
    return data.digits(num_train=100, num_valid=60, generator=seeded())


def plan(**changed):
    return Plan(**{"num_epochs": 3, "batch_size": 32, "progress": False, **changed})


def run(split, generator, *, lr=0.1, net=None, **changed):
    net = net or models.mlp([64, 8, 10], generator=seeded(1))
    return net, fit(net, split, torch.optim.SGD(net.parameters(), lr=lr), plan(**changed), generator=generator)


def test_fit_equals_a_loop_by_hand(split, untouched_global_state):
    net, history = run(split, seeded(2))
    twin = models.mlp([64, 8, 10], generator=seeded(1))
    source, losses, scores = seeded(2), [], []
    for _ in range(3):
        order = torch.randperm(100, generator=source)
        for start in range(0, 100, 32):
            rows = order[start : start + 32]
            loss = cross_entropy(twin(split.train[0][rows]), split.train[1][rows])
            gradients = torch.autograd.grad(loss, list(twin.parameters()))
            with torch.no_grad():
                for parameter, gradient in zip(twin.parameters(), gradients):
                    parameter -= 0.1 * gradient
            losses.append(loss.item())
        with torch.no_grad():
            output = twin(split.valid[0])
            wrong = int((output.argmax(1) != split.valid[1]).sum())
            scores.append((float(cross_entropy(output, split.valid[1])), wrong / 60))
    assert history.train_loss.tolist() == losses
    assert torch.allclose(torch.stack([history.valid_loss, history.valid_error], 1), torch.tensor(scores).double())
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(net.parameters(), twin.parameters()))
    assert (history.num_steps, history.stopped) == (12, "")
    assert repr(history).startswith("History(12 steps, 3 epochs, valid loss")


def test_fit_learns(split):
    _, history = run(split, seeded(), lr=0.5, num_epochs=40)
    assert history.valid_error[-1] < 0.3 < history.valid_error[0]


def test_a_schedule_sets_the_rate_of_each_step(split):
    seen, rates = [], []

    class Watch(torch.optim.SGD):
        def step(self):
            rates.append([group["lr"] for group in self.param_groups])
            super().step()

    net = models.mlp([64, 8, 10], generator=seeded())
    groups = [{"params": net[0].parameters()}, {"params": net[2].parameters()}]

    def schedule(step):
        seen.append(step)
        return 0.1 / (1 + step)

    fit(net, split, Watch(groups, lr=9.0), plan(num_epochs=2, schedule=schedule), generator=seeded())
    assert seen == list(range(8))
    assert rates == [[0.1 / (1 + step)] * 2 for step in range(8)]


def test_a_loss_that_is_not_finite_stops_before_its_update(split):
    calls = []

    def loss(output, target):
        if torch.is_grad_enabled():  # count training steps only
            calls.append(None)
        return cross_entropy(output, target) * (math.nan if len(calls) == 7 else 1)

    with pytest.warns(RuntimeWarning, match="fit: stopped at step 6: the loss is nan"):
        net, history = run(split, seeded(2), loss=loss)
    assert history.stopped == "step 6: the loss is nan"
    assert (history.num_steps, len(history.valid_loss)) == (6, 1)
    assert torch.isfinite(history.train_loss).all()
    calls.clear()
    with pytest.warns(RuntimeWarning):
        twin, _ = run(split, seeded(2), loss=loss)
    assert all(torch.equal(a, b) and b.isfinite().all() for a, b in zip(net.parameters(), twin.parameters()))


def test_a_run_that_diverges_says_so(split):
    with pytest.warns(RuntimeWarning, match=r"fit: stopped at step \d+: the loss is (nan|inf)"):
        _, history = run(split, seeded(), lr=1e12, num_epochs=5, loss=lambda out, y: out.square().mean())
    assert "the loss is" in history.stopped
    assert history.num_steps >= 1


def test_an_interruption_keeps_the_history(split):
    steps = []

    def schedule(step):
        steps.append(step)
        if step == 9:
            raise KeyboardInterrupt
        return 0.1

    net = models.mlp([64, 8, 10], generator=seeded()).eval()
    _, history = run(split, seeded(), net=net, schedule=schedule)
    assert (history.num_steps, len(history.valid_loss)) == (9, 2)
    assert history.stopped == "step 9: interrupted"
    assert "stopped at step 9: interrupted" in repr(history)
    assert not net.training


def test_modes_come_back_module_by_module(split):
    net = nn.Sequential(nn.Linear(64, 10), nn.BatchNorm1d(10))
    net.train()
    net[1].eval()
    modes = []
    net[1].register_forward_hook(lambda module, *_: modes.append(module.training))
    fit(net, split, torch.optim.SGD(net.parameters(), lr=0.1), plan(num_epochs=1), generator=seeded())
    assert (net.training, net[0].training, net[1].training) == (True, True, False)
    assert modes == [True] * 4 + [False]
    before = net[1].running_mean.clone()
    evaluate(net, *split.valid)
    assert torch.equal(before, net[1].running_mean)
    assert net.training


def test_the_progress_bar_is_on_stderr_and_can_be_switched_off(split, capfd):
    run(split, seeded(), progress=True)
    assert "12/12" in capfd.readouterr().err
    run(split, seeded(), progress=False)
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "")


@pytest.mark.parametrize("batch_size", [1, 7, 60, 500])
def test_evaluate_does_not_depend_on_the_batch_size(split, batch_size):
    net = models.mlp([64, 10], generator=seeded())
    x, y = split.valid
    score = evaluate(net, x, y, batch_size=batch_size)
    assert score.loss == pytest.approx(cross_entropy(net(x), y).item(), rel=1e-6)
    assert score.error == float((net(x).argmax(1) != y).double().mean())
    assert isinstance(score, Score)


def test_regression_has_a_loss_but_no_error():
    x = torch.linspace(-1, 1, 20)[:, None]
    part = (x, 2 * x)
    net = models.mlp([1, 1], generator=seeded())
    sgd, long = torch.optim.SGD(net.parameters(), lr=0.3), plan(num_epochs=200, loss=mse_loss)
    history = fit(net, data.Split(part, part, part), sgd, long, generator=seeded())
    assert history.valid_loss[-1] < 1e-6
    assert history.valid_error.isnan().all()
    assert net[0].weight.item() == pytest.approx(2, abs=1e-3)


def test_double_precision_is_kept(split):
    net = models.mlp([64, 10], generator=seeded()).double()
    _, history = run(split.to(torch.float64), seeded(), net=net)
    assert {p.dtype for p in net.parameters()} == {torch.float64}
    assert history.train_loss.dtype == torch.float64


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"num_epochs": 0}, "Plan: num_epochs must be an integer >= 1, got 0"),
        ({"batch_size": 1.5}, "Plan: batch_size must be an integer >= 1, got 1.5"),
        ({"loss": "mse"}, r"Plan: loss must be a function of \(output, target\), got 'mse'"),
        ({"schedule": 0.1}, "Plan: schedule must be a function of the step, or None, got 0.1"),
    ],
)
def test_plan_refuses(changed, message):
    with pytest.raises(ValueError, match=message):
        plan(**changed)


def test_fit_refuses(split):
    net = models.mlp([64, 10], generator=seeded())
    sgd = torch.optim.SGD(net.parameters(), lr=0.1)
    other = torch.optim.SGD(models.mlp([64, 10], generator=seeded()).parameters(), lr=0.1)
    for arguments, message in [
        ((net, split.train, sgd, plan()), r"fit: split must be a data\.Split, got tuple"),
        ((net, split, sgd, 3), r"fit: plan must be a training\.Plan, got int"),
        ((net, split.to("meta"), sgd, plan()), "fit: split must be on the model's device cpu, got meta"),
        ((net, split, other, plan()), "fit: optimizer must hold parameters of the model, got none of them"),
    ]:
        with pytest.raises(ValueError, match=message):
            fit(*arguments, generator=seeded())
    with pytest.raises(ValueError, match=r"fit: loss must return a scalar tensor, .*, got shape \(32,\)"):
        run(split, seeded(), loss=lambda out, y: cross_entropy(out, y, reduction="none"))
    with pytest.raises(ValueError, match=r"fit: generator must be a torch\.Generator, got None"):
        fit(net, split, sgd, plan(), generator=None)


def test_evaluate_refuses(split):
    net = models.mlp([64, 10], generator=seeded())
    with pytest.raises(ValueError, match="evaluate: x and y must have equally many rows, at least 1, got 60 and 100"):
        evaluate(net, split.valid[0], split.train[1])
    with pytest.raises(ValueError, match="evaluate: batch_size must be an integer >= 1, got 0"):
        evaluate(net, *split.valid, batch_size=0)
    with pytest.raises(ValueError, match="evaluate: x must be on the model's device cpu, got meta"):
        evaluate(net, *split.to("meta").valid)
    with pytest.raises(ValueError, match=r"evaluate: loss must return a scalar tensor, .*, got float"):
        evaluate(net, *split.valid, loss=lambda out, y: 0.0)


def frozen(net):
    return net.requires_grad_(False)


def fresh(**changed):
    return models.mlp([64, 10], **{"generator": seeded(), **changed})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda s: run(s, seeded(), net=frozen(fresh())), "fit: optimizer must hold .* that requires a gradient"),
        (lambda s: run(s, seeded(), schedule=lambda t: None), r"fit: schedule\(0\) must be a finite number.*None"),
        (lambda s: run(s, seeded(), schedule=lambda t: -0.1), r"fit: schedule\(0\) must be .*, got -0.1"),
        (lambda s: run(s, seeded(), loss=lambda o, y: cross_entropy(o, y).detach()), "fit: loss must have a gradient"),
        (lambda s: run(s, seeded(), loss=lambda o, y: (o.argmax(1) != y).sum()), "loss must .* of torch.int64"),
        (lambda s: torch.no_grad()(run)(s, seeded()), "fit: loss must have a gradient .* torch.no_grad"),
        (lambda s: run(s.to(torch.float64), seeded()), "split must have the model's dtype torch.float32, got"),
        (lambda s: fit(len, s, None, plan(), generator=seeded()), "fit: model must be a torch.nn.Module, got builtin"),
        (lambda s: fit(fresh(), s, torch.optim.SGD, plan(), generator=seeded()), "fit: optimizer must be .*, got SGD"),
        (lambda s: fit(m := fresh(), s, torch.optim.LBFGS(m.parameters()), plan(), generator=seeded()), "got LBFGS"),
        (lambda s: evaluate(fresh(), s.valid[0].numpy(), s.valid[1]), "evaluate: x and y must be tensors .* ndarray"),
        (lambda s: evaluate(fresh(), s.valid[0], s.valid[1].to("meta")), "evaluate: y must be on x's device cpu"),
        (lambda s: evaluate(fresh(), s.valid[0].double(), s.valid[1]), "evaluate: x must have the model's dtype"),
        (lambda s: evaluate(fresh(), *s.valid, loss="mse"), r"evaluate: loss must be a function of \(output, target\)"),
    ],
)
def test_training_refuses_look_alikes(split, make, message):
    with pytest.raises(ValueError, match=message):
        make(split)


def test_a_schedule_that_breaks_later_keeps_the_history(split):
    with pytest.warns(RuntimeWarning, match="fit: stopped at step 6: the schedule gives nan"):
        net, history = run(split, seeded(), schedule=lambda step: math.nan if step == 6 else 0.1)
    assert (history.num_steps, len(history.valid_loss)) == (6, 1)
    assert all(parameter.isfinite().all() for parameter in net.parameters())


def test_an_error_is_counted_only_where_classes_can_be_told_apart():
    x, y = torch.randn(4, 3, generator=seeded()), torch.tensor([0, 1, 0, 1])
    bce = lambda output, target: binary_cross_entropy_with_logits(output[:, 0], target.float())  # noqa: E731
    assert math.isnan(evaluate(models.mlp([3, 1], generator=seeded()), x, y, loss=bce).error)
    assert evaluate(models.mlp([3, 2], generator=seeded()), x * math.nan, 0 * y).error == 1

    class Two(nn.Sequential):
        def forward(self, x):
            return super().forward(x), None

    pair = Two(models.mlp([3, 2], generator=seeded()))
    assert math.isnan(evaluate(pair, x, y, loss=lambda output, target: cross_entropy(output[0], target)).error)
