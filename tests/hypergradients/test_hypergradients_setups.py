"""Studies that pages and tables share, and linear systems with each network's Hessian."""

import pytest
import torch

from labsupport import hypergradients as hg
from labsupport.experiments import seeded
from labsupport.hypergradients import inputs, setups, solving, studies


def test_the_networks_on_digits_are_those_that_they_are_said_to_be():
    split = inputs.few_digits()
    assert [len(x) for x, _ in (split.train, split.valid)] == [300, 400]
    study = setups.on_digits([3, 8], num_steps=7, backend="eager")
    problem, twin = study.problem(0), study.problem(5)
    assert all(torch.equal(one, twin.weights[name]) for name, one in problem.weights.items())
    wanted = hg.minibatches(*split.train, 100, seed=3)
    for step in (0, 4):
        assert all(map(torch.equal, problem.batches(step), wanted(step)))
        assert torch.equal(twin.batches(step)[0], wanted(step)[0])
    assert (problem.num_steps, problem.lr, problem.momentum) == (7, 0.03, 0.9)
    found, logs = setups.digits_task([3, 8], num_steps=7)
    assert found.weights.keys() == problem.weights.keys()
    assert sum(value.shape[1] for value in logs.values()) == 214 and all((v == -6).all() for v in logs.values())


def test_starts_orders_and_digits_follow_the_attempt():
    split = inputs.few_digits().to(torch.float64)
    study = setups.on_digits(lambda at: [at], num_steps=2, order=lambda at: at + 1, split=split, backend="eager")
    one, other = study.problem(4), study.problem(5)
    assert one.weights["0.weight"].dtype == torch.float64
    assert not torch.equal(one.weights["0.weight"], other.weights["0.weight"])
    assert torch.equal(one.batches(0)[0], hg.minibatches(*split.train, 100, seed=5)(0)[0])
    assert not torch.equal(one.batches(0)[0], other.batches(0)[0])


def test_a_row_on_clutter_is_that_of_compared_with_maps():
    study = setups.on_clutter((4, 3, 2), seeds=[1, 2], num_steps=2, backend="eager")
    assert torch.equal(study.train[0][1], inputs.cluttered((4, 3, 2), 2).train[0])
    plan, levels = hg.MetaPlan(3, 0.3), [-4.0, -2.0]
    row = setups.clutter_row(study, hg.Stored(), levels=levels, plan=plan, every=2)
    found, learnt = studies.compared(
        study, hg.Stored(), levels=levels, start=-5.0, plan=plan, areas=inputs.CLUTTER
    )  # fmt: skip
    maps = torch.tensor(row.pop("maps")).view(-1, 784)
    assert row == found and len(maps) == 2 and (maps[0] == -500).all()
    assert torch.equal(maps[1], (100 * learnt.history["0.weight"][2].mean(0)).round().int())
    assert "maps" not in setups.clutter_row(study, "loss", levels=levels, plan=plan, every=2)
    with pytest.raises(ValueError, match="clutter_row: every must be"):
        setups.clutter_row(study, "loss", levels=levels, plan=plan, every=0)


def system():
    """Three networks of six weights each in two tensors, a positive definite matrix for each, and a right side."""
    root = torch.randn(3, 6, 6, generator=seeded(0), dtype=torch.float64)
    matrices = root @ root.mT + torch.eye(6, dtype=torch.float64)
    drawn = seeded(1)
    right = {
        "a": torch.randn(3, 2, 2, generator=drawn, dtype=torch.float64),
        "b": torch.randn(3, 2, generator=drawn, dtype=torch.float64),
    }

    def product(values):
        found = (matrices @ flat(values)[..., None])[..., 0]
        return {"a": found[:, :4].view(3, 2, 2), "b": found[:, 4:]}

    return matrices, product, right


def flat(values):
    return torch.cat([values["a"].flatten(1), values["b"]], 1)


def test_systems_are_solved_for_each_network_by_itself():
    matrices, product, right = system()
    truth = torch.linalg.solve(matrices, flat(right))
    torch.testing.assert_close(flat(solving.conjugate(product, right, num_steps=6)), truth)
    few = flat(solving.conjugate(product, right, num_steps=2))
    for k in range(3):  # the best of the two directions b and Hb, in the norm of H
        basis = torch.stack([flat(right)[k], matrices[k] @ flat(right)[k]], 1)
        best = basis @ torch.linalg.solve(basis.T @ matrices[k] @ basis, basis.T @ flat(right)[k])
        torch.testing.assert_close(few[k], best)
    tops = torch.linalg.eigvalsh(matrices)[:, -1]
    torch.testing.assert_close(solving.highest(product, right, num_steps=400), tops)
    torch.testing.assert_close(flat(solving.series(product, right, 1 / tops, num_terms=2000)), truth)
    one = flat(right) / tops[:, None]
    two = 2 * one - (matrices @ one[..., None])[..., 0] / tops[:, None]
    torch.testing.assert_close(flat(solving.series(product, right, 1 / tops, num_terms=1)), two)


def test_dots_and_factors_are_of_each_network():
    _, _, right = system()
    torch.testing.assert_close(solving.dots(right, right), flat(right).square().sum(1))
    factors = torch.tensor([1.0, -2.0, 0.0], dtype=torch.float64)
    torch.testing.assert_close(flat(solving.scaled(factors, right)), factors[:, None] * flat(right))


@pytest.mark.parametrize(
    ("says", "call"),
    [
        ("dots: other must name a, b, got a", lambda product, b: solving.dots(b, {"a": b["a"]})),
        ("conjugate: num_steps must be", lambda product, b: solving.conjugate(product, b, num_steps=0)),
        ("highest: num_steps must be", lambda product, b: solving.highest(product, b, num_steps=0)),
        ("series: num_terms must be", lambda product, b: solving.series(product, b, torch.ones(3), num_terms=-1)),
    ],
)
def test_refusals(says, call):
    with pytest.raises(ValueError, match=says):
        call(*system()[1:])
