"""Compiled steps: equal to eager ones, in every method, and refused where torch compiles them wrongly."""

from contextlib import suppress
from dataclasses import replace

import pytest
import torch
from test_hypergradients import make as network
from test_hypergradients import off, seeded
from torch import nn

from labsupport import hypergradients as hg
from labsupport.hypergradients import Problem, hypergradient
from labsupport.hypergradients.runs import Run, _difference
from labsupport.hypergradients.steps import steps_of
from labsupport.population.compiling import compiler

pytestmark = pytest.mark.skipif(bool(compiler()), reason="nothing compiles here")
STEPS = 12
METHODS = [hg.Stored(), hg.Stored(torch.bfloat16), hg.SqrtCheckpoint(), hg.Knots(3), hg.DrMAD(5), hg.Truncated(5),
           hg.Reversible(), hg.Neumann(4)]  # fmt: skip
FLAT = torch.arange(12) % 4


def train_loss(weights, hyper, batch):
    return (batch @ weights["w"]).tanh().square().mean() + hg.log_l2(weights, hyper)


def miscompiled(weights, hyper, batch):
    """torch 2.13 on a CPU compiles what this gives by the coefficients wrongly."""
    return (hyper["c"].exp()[FLAT] * weights["w"] * weights["w"]).sum()


def repaired(weights, hyper, batch):
    """The same by broadcasting."""
    return (hyper["c"].exp() * weights["w"].view(3, 4).square()).sum()


def make(rows=lambda step: 5, columns=6, dtype=torch.float64):
    x = torch.randn(STEPS, 8, columns, generator=seeded(), dtype=torch.float64).to(dtype)
    weights = {"w": torch.randn(columns, 2, generator=seeded(1), dtype=torch.float64).to(dtype)}
    problem = Problem(
        train_loss, lambda w: (w["w"] - 1).square().sum(), weights, lambda step: x[step, : rows(step)], STEPS, 0.1, 0.5
    )
    return problem, {"w": torch.linspace(-3, -1, columns, dtype=torch.float64).to(dtype)[:, None]}


def indexed(loss):
    weights = {"w": torch.randn(12, generator=seeded(1), dtype=torch.float64)}
    judge = torch.randn(12, generator=seeded(2), dtype=torch.float64)
    problem = Problem(loss, lambda w: (w["w"] * judge).sum(), weights, lambda step: None, 5, 0.1, 0.5)
    return problem, {"c": torch.randn(4, generator=seeded(3), dtype=torch.float64)}


@pytest.mark.parametrize("method", METHODS, ids=repr)
def test_every_method_gives_what_it_gives_eagerly(method):
    for problem, hyper in (make(), make(columns=4), make()):  # two shapes in one compiled function, and back
        eager, compiled = (hypergradient(problem, hyper, method, backend=name) for name in ("eager", "compiled"))
        assert off(compiled, eager) < 1e-10
        assert compiled.valid_loss == pytest.approx(eager.valid_loss, abs=1e-12)
        assert compiled.stored_bytes == eager.stored_bytes
        assert torch.allclose(compiled.adjoint_norms, eager.adjoint_norms)


def test_batches_of_changing_shape_are_each_looked_at():
    problem, hyper = make(lambda step: (5, 7, 3)[step % 3])
    for method in (hg.Stored(), hg.SqrtCheckpoint()):
        assert off(*(hypergradient(problem, hyper, method, backend=name) for name in ("compiled", "eager"))) < 1e-10
    run = Run(problem, hyper, "compiled")
    for step in range(STEPS):
        run.forward(problem.weights, problem.weights, step)
    assert len(run._trusted) == 3


def test_training_and_learning_compiled():
    problem, hyper = make()
    eager, compiled = (hg.trained(problem, hyper, backend=name) for name in ("eager", "compiled"))
    assert torch.allclose(eager[0]["w"], compiled[0]["w"], atol=1e-12) and eager[1] == pytest.approx(compiled[1])
    plans = [hg.MetaPlan(3, 0.1, backend=name) for name in ("eager", "compiled")]
    one, other = (hg.meta_optimize(lambda at: problem, hyper, hg.Stored(), plan) for plan in plans)
    assert torch.allclose(one.valid_loss, other.valid_loss, rtol=1e-10)


def test_auto_compiles_where_it_can(monkeypatch):
    problem, hyper = network()
    auto, compiled = (hypergradient(problem, hyper, hg.Stored(), backend=name).grad for name in ("auto", "compiled"))
    assert all(torch.equal(auto[name], compiled[name]) for name in auto)
    monkeypatch.setattr("labsupport.hypergradients.steps.compiler", lambda: "no g++")
    eager = hypergradient(problem, hyper, hg.Stored(), backend="eager").grad
    auto = hypergradient(problem, hyper, hg.Stored(), backend="auto").grad
    assert all(torch.equal(auto[name], eager[name]) for name in auto)


def test_float32_compiled():
    problem, hyper = make(dtype=torch.float32)
    assert off(*(hypergradient(problem, hyper, hg.Stored(), backend=name) for name in ("compiled", "eager"))) < 1e-5


def is_miscompiled():
    problem, hyper = indexed(miscompiled)
    found, truth = (
        steps_of(miscompiled, name).products(problem.weights, hyper, None, problem.weights)
        for name in ("compiled", "eager")
    )
    return not torch.allclose(found[1]["c"], truth[1]["c"])


@pytest.fixture
def one_thread():
    """With more than one, torch 2.13 fails to compile the loss below at all, and says so."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def test_a_loss_that_torch_compiles_wrongly_is_refused(one_thread):
    problem, hyper = indexed(miscompiled)
    if not is_miscompiled():
        pytest.skip(f"torch {torch.__version__} compiles it rightly")
    rule = "backend must be 'eager' for this train_loss: torch .* compiles it wrongly, got an error of .* of its size"
    for method, where in ((hg.Stored(), "'back'"), (hg.Neumann(2), "'products'")):
        with pytest.raises(ValueError, match=f"{rule}.*'c'.* in {where}; broadcast instead of indexing"):
            hypergradient(problem, hyper, method, backend="compiled")
    assert hypergradient(problem, hyper, hg.Stored()).finite
    other, hyper = indexed(repaired)
    found = hypergradient(other, hyper, hg.Stored(), backend="compiled")
    assert off(found, hypergradient(problem, hyper, hg.Unrolled())) < 1e-10


@pytest.mark.parametrize("name", ["slope", "products", "forward", "back"])
def test_a_wrong_mixed_term_or_product_is_refused_whatever_compiled_it(name, monkeypatch):
    """A fault planted in each compiled step, small beside the number it is added to."""
    problem, hyper = make()
    run = Run(problem, hyper, "compiled")
    right = getattr(run._steps, name)

    def wrong(*at):
        leaves, shape = torch.utils._pytree.tree_flatten(right(*at))
        leaves = [leaf * (1 + 1e-4) for leaf in leaves]
        return torch.utils._pytree.tree_unflatten(leaves, shape)

    monkeypatch.setattr(run, "_steps", run._steps._replace(**{name: wrong}))
    method = {"slope": hg.Reversible(), "products": hg.Neumann(2)}.get(name, hg.Stored())
    with pytest.raises(ValueError, match=f"compiles it wrongly, got an error of 0.0001 of its size at .* in '{name}'"):
        method.solve(run)


def test_the_first_call_of_a_run_is_compared_and_the_next_are_not(monkeypatch):
    problem, hyper = make()
    for _ in range(2):
        run, calls = Run(problem, hyper, "compiled"), []
        truth = run._truth.back
        counted = run._truth._replace(back=lambda *at, t=truth, c=calls: c.append(1) or t(*at))
        monkeypatch.setattr(run, "_truth", counted)
        hg.Stored().solve(run)
        assert len(calls) == 1


def test_differences_are_relative_and_rounding_is_none():
    one = {"a": torch.tensor([1.0, 2.0]), "b": torch.tensor([1e-12])}
    assert _difference(one, {"a": torch.tensor([1.0, 2.0001]), "b": torch.zeros(1)}) == ""
    assert "at ['a']" in _difference(one, {"a": torch.tensor([1.0, 2.1]), "b": torch.zeros(1)})
    assert "at ['b']" in _difference(one, {"a": torch.tensor([1.0, 2.0]), "b": torch.ones(1)})
    assert "at ['a']" in _difference({"a": torch.tensor([torch.nan])}, {"a": torch.ones(1)})
    assert _difference({"a": torch.tensor([torch.nan])}, {"a": torch.tensor([torch.nan])}) == ""


def test_what_cannot_be_compiled_is_refused_by_name():
    problem, hyper = make()
    net = nn.Linear(1, 1)

    def odd(weights, hyper, batch):
        if float(batch.sum()) > 1e9:  # the value of a tensor decides what is computed
            return net(batch).sum()
        return train_loss(weights, hyper, batch)

    with pytest.raises(ValueError, match="hypergradient: backend must be 'eager' for this train_loss, got "):
        hypergradient(replace(problem, train_loss=odd), hyper, hg.Stored(), backend="compiled")
    with pytest.raises(ValueError, match="hypergradient: backend must be one of 'auto', 'eager', 'compiled', got"):
        hypergradient(problem, hyper, hg.Stored(), backend="fast")


def test_weights_that_are_parts_of_a_tensor_do_no_harm():
    """torch 2.13 cannot compile a product of a linear layer's at such weights, and stays in forward mode."""
    problem, hyper = network()
    numbers = torch.cat([value.flatten() for value in problem.weights.values()])
    parts = numbers.split([value.numel() for value in problem.weights.values()])
    weights = {name: part.view_as(problem.weights[name]) for name, part in zip(problem.weights, parts, strict=True)}
    with suppress(ValueError):
        Run(problem, hyper, "compiled").products(weights, 0, problem.weights)
    assert hypergradient(problem, hyper, hg.ForwardMode()).finite
    eager, compiled = (hypergradient(problem, hyper, hg.Reversible(), backend=name) for name in ("eager", "compiled"))
    assert off(compiled, eager) < 1e-10


def test_a_machine_without_a_compiler_says_so(monkeypatch):
    from labsupport.hypergradients import steps

    problem, hyper = make()
    monkeypatch.setattr(steps, "compiler", lambda: "no g++")
    fresh = replace(problem, train_loss=lambda w, h, b: train_loss(w, h, b))
    with pytest.raises(ValueError, match=r"backend must be 'eager' on this machine \(no g\+\+\), got 'compiled'"):
        hypergradient(fresh, hyper, hg.Stored(), backend="compiled")


def test_rates_of_changing_shape_are_each_looked_at():
    problem, _ = make()

    def lr(hyper, step):
        wide = hyper["lr"].exp().expand(6, 2)
        return {"w": (wide, wide.contiguous(), hyper["lr"].exp())[step % 3]}

    hyper = {"lr": torch.tensor(-2.0, dtype=torch.float64), "w": torch.tensor(-3.0, dtype=torch.float64)}
    changing = replace(problem, lr=lr)
    found = hypergradient(changing, hyper, hg.Stored(), backend="compiled")
    assert off(found, hypergradient(changing, hyper, hg.Unrolled())) < 1e-10


def test_a_wrong_product_is_seen_beside_a_derivative_much_longer_than_it(monkeypatch):
    """With a rate of a millionth, H u is a millionth of what it is added to."""
    problem, hyper = make()
    run = Run(replace(problem, lr=1e-6), hyper, "compiled")
    right = run._steps.back

    def wrong(weights, hyper, batch, after, *rates):
        adjoints, u, norm = right(weights, hyper, batch, after, *rates)
        bent = {name: value + 0.01 * (adjoints.weights[name] - value) for name, value in after.weights.items()}
        return adjoints._replace(weights=bent), u, norm

    monkeypatch.setattr(run, "_steps", run._steps._replace(back=wrong))
    with pytest.raises(ValueError, match=r"compiles it wrongly, got an error of 1 of its size at .* in 'back'"):
        hg.Stored().solve(run)


def test_a_wrong_mixed_term_is_seen_beside_the_sum_of_those_of_later_steps(monkeypatch):
    """The last batch to be met has a shape of its own and a penalty of a millionth."""
    problem, hyper = make(lambda step: 5 + 2 * (step == 0))

    def scaled(weights, hyper, batch):
        return train_loss(weights, {"w": hyper["w"] - 14.0 * (len(batch) == 7)}, batch)

    run = Run(replace(problem, train_loss=scaled), hyper, "compiled")
    right = run._steps.back

    def wrong(weights, hyper, batch, after, *rates):
        adjoints, *rest = right(weights, hyper, batch, after, *rates)
        share = 1.01 if len(batch) == 7 else 1.0
        bent = {name: value + share * (adjoints.hyper[name] - value) for name, value in after.hyper.items()}
        return adjoints._replace(hyper=bent), *rest

    monkeypatch.setattr(run, "_steps", run._steps._replace(back=wrong))
    with pytest.raises(ValueError, match=r"got an error of 0.01 of its size at .*hyper.* in 'back'"):
        hg.Stored().solve(run)


def test_a_loss_that_changes_between_runs_is_followed_and_within_one_refused():
    problem, hyper = make()
    state = {"factor": 1.0}
    plain = problem.batches

    def growing(step):
        state["factor"] = 1.0 + step / 10
        return plain(step)

    scaled = replace(problem, train_loss=lambda w, h, batch: train_loss(w, h, batch) * state["factor"])
    for _ in range(2):  # with one program, then with two to choose from
        with pytest.raises(ValueError, match="train_loss must depend on its arguments alone while a run lasts"):
            hypergradient(replace(scaled, batches=growing), hyper, hg.Stored(), backend="compiled")
        for state["factor"] in (2.0, 3.0):
            pair = (hypergradient(scaled, hyper, hg.Stored(), backend=name) for name in ("compiled", "eager"))
            assert off(*pair) < 1e-10


def test_batches_that_are_not_tensors_or_numbers_are_refused():
    problem, hyper = make()

    def tensors(weights, hyper, batch):
        return train_loss(weights, hyper, torch.as_tensor(batch))

    arrays = replace(problem, train_loss=tensors, batches=lambda step: problem.batches(step).numpy())
    with pytest.raises(ValueError, match="compiled, batches must hold tensors and numbers, got ndarray"):
        hypergradient(arrays, hyper, hg.Stored(), backend="compiled")
