"""Gaussian processes against scikit-learn and closed forms; expected improvement against integration."""

import math

import numpy as np
import pytest
import torch
from scipy import integrate, stats
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

from labsupport.search import acquisition, gaussian

DTYPE = torch.float64


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def data(n=25, dims=3, seed=0):
    x = torch.rand(n, dims, generator=seeded(seed), dtype=DTYPE)
    y = torch.sin(5 * x[:, 0]) + x[:, 1] ** 2 + 0.05 * torch.randn(n, generator=seeded(seed + 1), dtype=DTYPE)
    return x, (y - y.mean()) / y.std(correction=0)


def kernel(lengths=(0.3, 0.7, 2.0), signal=1.3, noise=0.02):
    values = torch.tensor(lengths, dtype=DTYPE), torch.tensor(signal, dtype=DTYPE), torch.tensor(noise, dtype=DTYPE)
    return gaussian.Hyper(*values)._asdict()


def peer(lengths, signal, noise):
    parts = ConstantKernel(float(signal)), Matern(lengths.numpy(), nu=2.5), WhiteKernel(float(noise))
    return parts[0] * parts[1] + parts[2]


def expected(mean, variance, best):
    return acquisition.expected_improvement(
        torch.tensor(mean, dtype=DTYPE), torch.tensor(variance, dtype=DTYPE), best=best
    )


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("n", "dims"), [(1, 1), (2, 3), (40, 6)])
def test_log_marginal_and_its_gradient_equal_scikit_learns(n, dims, seed):
    x, y = data(n, max(dims, 2), seed)
    x, y = x[:, :dims], y if n > 1 else torch.ones(1, dtype=DTYPE)
    draws = torch.randn(dims + 2, generator=seeded(seed + 9), dtype=DTYPE)
    logs = (0.5 * draws - torch.tensor([0.5] * dims + [0.0, 3.0], dtype=DTYPE)).requires_grad_()
    value = gaussian.log_marginal(x, y, lengths=logs[:-2].exp(), signal=logs[-2].exp(), noise=logs[-1].exp())
    (gradient,) = torch.autograd.grad(value, logs)
    at = logs.detach().exp()
    theirs = GaussianProcessRegressor(peer(at[:-2], at[-2], at[-1]), alpha=0, optimizer=None).fit(x, y)
    value_peer, gradient_peer = theirs.log_marginal_likelihood(theirs.kernel_.theta, eval_gradient=True)
    order = [*range(1, dims + 1), 0, dims + 1]  # theirs: signal, lengths, noise
    assert float(value.detach()) == pytest.approx(value_peer, rel=1e-8, abs=1e-8)
    np.testing.assert_allclose(gradient.numpy(), gradient_peer[order], rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize(("n", "dims"), [(1, 1), (2, 3), (40, 6)])
def test_fit_climbs_by_the_likelihood_s_own_gradient_also_with_copies(n, dims):
    x, y = data(n, max(dims, 2))
    x, y = x[:, :dims].repeat(2, 1), torch.cat([y if n > 1 else torch.ones(1, dtype=DTYPE)] * 2)
    logs = torch.randn(dims + 2, generator=seeded(4), dtype=DTYPE).mul(0.5).sub(0.7).requires_grad_()
    hyper = gaussian.Hyper(logs[:-2].exp(), logs[-2].exp(), logs[-1].exp())
    value = gaussian.log_marginal(x, y, **hyper._asdict())
    (gradient,) = torch.autograd.grad(value, logs)
    apart = (x.mT[:, :, None] - x.mT[:, None, :]).square()
    found, slope = gaussian._likelihood(apart, y, gaussian.Hyper(*(part.detach() for part in hyper)))
    assert float(found) == pytest.approx(float(value.detach()), rel=1e-10)
    np.testing.assert_allclose(slope, gradient, rtol=1e-8, atol=1e-8)


def test_a_forecast_is_the_posterior_and_pulls_slopes_as_autograd_does():
    x, y = data(20, 3)
    hyper, at = gaussian.Hyper(**kernel()), torch.rand(7, 3, generator=seeded(3), dtype=DTYPE)
    at[0] = x[4]
    at.requires_grad_()
    mean, variance, pull = gaussian.forecast(gaussian.condition(x, y, hyper), at.detach())
    wanted = gaussian.posterior(x, y, at, **hyper._asdict())
    assert torch.allclose(mean, wanted[0], rtol=1e-10) and torch.allclose(variance, wanted[1], rtol=1e-8, atol=1e-10)
    by_mean, by_variance = torch.randn(2, 7, generator=seeded(5), dtype=DTYPE)
    (gradient,) = torch.autograd.grad((wanted[0] * by_mean + wanted[1] * by_variance).sum(), at)
    assert torch.allclose(pull(by_mean, by_variance), gradient, rtol=1e-8, atol=1e-8)


def test_the_posterior_is_of_the_function_without_the_noise():
    x, y = data()
    at = torch.cat([torch.rand(50, 3, generator=seeded(5), dtype=DTYPE), x[:3]])
    mean, variance = gaussian.posterior(x, y, at, **kernel())
    k = kernel()
    # Scikit-learn's prediction adds the WhiteKernel's variance; with it in alpha instead, it is the function's.
    noiseless = ConstantKernel(1.3) * Matern(k["lengths"].numpy(), nu=2.5)
    theirs = GaussianProcessRegressor(noiseless, alpha=0.02, optimizer=None).fit(x, y)
    mean_peer, deviation_peer = theirs.predict(at.numpy(), return_std=True)
    np.testing.assert_allclose(mean, mean_peer, rtol=1e-9, atol=1e-10)
    np.testing.assert_allclose(variance, deviation_peer**2, rtol=1e-7, atol=1e-10)
    noisy = GaussianProcessRegressor(peer(**k), alpha=0, optimizer=None).fit(x, y)
    np.testing.assert_allclose(noisy.predict(at.numpy(), return_std=True)[1] ** 2, variance + 0.02, rtol=1e-7)


def test_one_point_has_a_closed_form():
    x, at = torch.tensor([[0.2]], dtype=DTYPE), torch.tensor([[0.2], [0.5]], dtype=DTYPE)
    signal, noise, y, root = 2.0, 0.5, 1.5, math.sqrt(5) * 0.3 / 0.4
    cross = [signal, signal * (1 + root + root**2 / 3) * math.exp(-root)]
    options = {"lengths": torch.tensor([0.4], dtype=DTYPE), "signal": signal, "noise": noise}
    mean, variance = gaussian.posterior(x, torch.tensor([y], dtype=DTYPE), at, **options)
    assert mean.tolist() == pytest.approx([c / (signal + noise) * y for c in cross])
    assert variance.tolist() == pytest.approx([signal - c * c / (signal + noise) for c in cross])
    likely = gaussian.log_marginal(x, torch.tensor([y], dtype=DTYPE), **options)
    assert float(likely) == pytest.approx(stats.norm(0, math.sqrt(signal + noise)).logpdf(y))


def test_without_data_the_posterior_is_the_prior_and_without_noise_it_interpolates():
    x, y = data(8)
    mean, variance = gaussian.posterior(x[:0], y[:0], x, **kernel())
    assert mean.tolist() == [0] * 8 and variance.tolist() == pytest.approx([1.3] * 8)
    mean, variance = gaussian.posterior(x, y, x, **kernel(noise=0.0))
    assert torch.allclose(mean, y) and float(variance.max()) < 1e-12 and float(variance.min()) >= 0


def test_the_gradient_with_respect_to_points_passes_finite_differences_also_where_two_coincide():
    x, y = data(6)
    at = x[:4].clone() + torch.tensor([[0.0], [0.1], [0.2], [0.0]])

    def both(x, y, at):
        return torch.stack(gaussian.posterior(x, y, at, **kernel()))

    inputs = [value.clone().requires_grad_() for value in (x, y, at)]
    assert torch.autograd.gradcheck(both, inputs, eps=1e-6, atol=1e-5)
    again = x.clone().requires_grad_()
    doubled = gaussian.log_marginal(torch.cat([again, again]), torch.cat([y, y]), **kernel())
    assert torch.autograd.grad(doubled, again)[0].isfinite().all()


def test_a_forecast_is_the_posterior_and_pulls_slopes_as_a_graph_does():
    draws = torch.Generator().manual_seed(4)
    x, y, at = (torch.rand(*shape, dtype=DTYPE, generator=draws) for shape in ((5, 2), (5,), (4, 2)))
    at[0] = x[0]
    hyper = gaussian.Hyper(*(torch.tensor(value, dtype=DTYPE) for value in ([0.4, 0.9], 1.3, 0.05)))
    at.requires_grad_()
    mean, variance, pull = gaussian.forecast(gaussian.condition(x, y, hyper), at.detach())
    plain = gaussian.posterior(x, y, at, **hyper._asdict())
    assert torch.allclose(mean, plain[0]) and torch.allclose(variance, plain[1])
    slopes = torch.rand(2, 4, dtype=DTYPE, generator=draws)
    by_graph = torch.autograd.grad(plain, at, list(slopes))[0]
    assert torch.allclose(pull(*slopes), by_graph, atol=1e-10)


def test_a_float32_caller_gets_float32_computed_in_float64():
    x, y = data()
    single = gaussian.log_marginal(x.float(), y.float(), **kernel())
    double = gaussian.log_marginal(x.float().double(), y.float().double(), **kernel())
    assert single.dtype == torch.float32 and float(single) == pytest.approx(float(double), rel=1e-6)
    assert [part.dtype for part in gaussian.posterior(x, y, x.float(), **kernel())] == [torch.float32] * 2


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_fit_climbs_no_lower_than_scikit_learns_optimum_allows():
    """With the priors out of the way: the likelihood of its fit is scikit-learn's, from ten starts, or better."""
    x, y = data(40)
    ours = gaussian.fit(x, y, num_starts=3)
    start = ConstantKernel(1.0, (0.05, 20)) * Matern([1.0] * 3, (0.02, 50), nu=2.5) + WhiteKernel(0.01, (1e-6, 1))
    theirs = GaussianProcessRegressor(start, alpha=0, n_restarts_optimizer=5, random_state=0).fit(x, y)
    # The prior costs a fit some likelihood, never more than it costs the most likely one.
    assert float(gaussian.log_marginal(x, y, **ours._asdict())) > theirs.log_marginal_likelihood_value_ - 3
    assert ours.lengths[2] > 2 * ours.lengths[:2].max()  # the third input does not matter
    assert gaussian.fit(x, y, num_starts=3).lengths.tolist() == ours.lengths.tolist()


def test_fit_bears_a_constant_one_point_and_copies():
    for x, y in [
        (torch.rand(9, 2, generator=seeded(), dtype=DTYPE), torch.zeros(9, dtype=DTYPE)),
        (torch.full((1, 2), 0.5, dtype=DTYPE), torch.zeros(1, dtype=DTYPE)),
        (torch.full((6, 2), 0.5, dtype=DTYPE), torch.linspace(-1, 1, 6, dtype=DTYPE)),
    ]:
        fitted = gaussian.fit(x, y)
        mean, variance = gaussian.posterior(x, y, x, **fitted._asdict())
        assert torch.cat([mean, variance, fitted.lengths]).isfinite().all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": torch.rand(3)}, "x must be finite of shape"),
        ({"x": torch.full((8, 3), math.nan)}, "x must be finite"),
        ({"y": torch.zeros(3)}, r"y must be finite of shape \(8,\)"),
        ({"y": torch.full((8,), math.inf)}, "y must be finite"),
        ({"lengths": torch.ones(2)}, r"lengths must have shape \(3,\)"),
        ({"lengths": torch.tensor([1.0, 0.0, 1.0])}, "lengths must be finite and > 0"),
        ({"signal": 0.0}, "signal must be finite and > 0, got 0"),
        ({"noise": -1.0}, "noise must be finite and >= 0, got -1"),
        ({"x": torch.zeros(8, 3), "noise": 0.0}, "must be positive definite: raise noise, got 0"),
    ],
)
def test_what_a_process_cannot_use_is_refused(change, message):
    x, y = data(8)
    given = {"x": x, "y": y} | kernel() | change
    with pytest.raises(ValueError, match=f"log_marginal: .*{message}"):
        gaussian.log_marginal(**given)
    with pytest.raises(ValueError, match=f"posterior: .*{message}"):
        gaussian.posterior(at=x, **given)


def test_other_refusals():
    x, y = data(8)
    with pytest.raises(ValueError, match=r"posterior: at must be finite of shape \(points, 3\)"):
        gaussian.posterior(x, y, x[:, :2], **kernel())
    with pytest.raises(ValueError, match="fit: x must hold at least one point"):
        gaussian.fit(x[:0], y[:0])
    with pytest.raises(ValueError, match="fit: num_starts must be an integer >= 1"):
        gaussian.fit(x, y, num_starts=0)
    with pytest.raises(ValueError, match="expected_improvement: variance must be >= 0, got -1"):
        expected([0.0], [-1.0], 0.0)
    with pytest.raises(ValueError, match="expected_improvement: variance must have mean's shape"):
        expected([0.0], 1.0, 0.0)


@pytest.mark.parametrize("z", [-30, -12.5, -5, -1.5, -1, -0.9, 0, 0.5, 4, 20])
@pytest.mark.parametrize("deviation", [0.01, 1.0, 30.0])
def test_expected_improvement_is_the_integral(z, deviation):
    best = 0.7
    mean = best - z * deviation

    def improvement(t):
        """Of f = best − t, times its density relative to that at the best, where the rest of the integral scales."""
        return t * math.exp(-0.5 * (t / deviation) ** 2 - abs(min(z, 0)) * t / deviation)

    if z <= 0:
        scale = math.exp(-0.5 * z * z) / (deviation * math.sqrt(2 * math.pi))
        reach = deviation * min(40, 800 / max(abs(z), 1))
        integral = scale * integrate.quad(improvement, 0, reach, epsabs=0, epsrel=1e-12, limit=200)[0]
    else:
        density = stats.norm(mean, deviation).pdf
        integral = integrate.quad(lambda f: (best - f) * density(f), mean - 12 * deviation, best, epsrel=1e-12)[0]
    assert float(expected(mean, deviation**2, best)) == pytest.approx(integral, rel=1e-9)


def test_expected_improvement_without_variance():
    assert expected([0.2, 0.5, 0.9], [0.0] * 3, 0.5).tolist() == pytest.approx([0.3, 0, 0])
    mean, variance = torch.tensor([0.2, 0.5, 0.9], requires_grad=True), torch.zeros(3, requires_grad=True)
    acquisition.expected_improvement(mean, variance, best=0.5).sum().backward()
    assert mean.grad.tolist()[0] == -1 and mean.grad.tolist()[2] == 0
    assert variance.grad.tolist() == [0, 0, 0]


def test_gradients_are_the_closed_form_and_finite_in_the_far_tail():
    z = torch.tensor([-1e8, -1e4, -101.0, -99.0, -38.0, -7.0, -1.0, 0.0, 3.0, 50.0], dtype=DTYPE)
    mean, variance = (-z).requires_grad_(), torch.ones_like(z, requires_grad=True)
    acquisition.expected_improvement(mean, variance, best=0.0).sum().backward()
    np.testing.assert_allclose(mean.grad, -stats.norm.cdf(z), rtol=1e-9, atol=1e-300)
    np.testing.assert_allclose(variance.grad, stats.norm.pdf(z) / 2, rtol=1e-9, atol=1e-300)
    logs, *slopes = acquisition.log_improvement_slopes(mean, variance, best=0.0)
    for slope, by_graph in zip(slopes, torch.autograd.grad(logs.sum(), (mean, variance)), strict=True):
        assert torch.allclose(slope[1:], by_graph[1:], rtol=1e-6)  # at -1e8 the logarithms are too large to subtract
    assert all(slope.isfinite().all() for slope in (logs, *slopes))
    assert (slopes[0] < 0).all() and (slopes[1] >= 0).all()


def test_the_logarithm_has_no_seams_and_agrees_where_there_is_no_underflow():
    for seam in (-1.0, -100.0):
        z = torch.tensor([seam - 1e-9, seam, seam + 1e-9], dtype=DTYPE)
        left, _, right = acquisition.log_improvement_slopes(-z, torch.ones_like(z), best=0.0)[0].tolist()
        assert right - left == pytest.approx(2e-9 * max(1.9043, abs(seam)), rel=0.02)
    z = torch.linspace(-30, 9, 79, dtype=DTYPE)
    logs, _, _ = acquisition.log_improvement_slopes(-2 * z, torch.full_like(z, 4.0), best=0.0)
    assert torch.allclose(logs.exp(), expected((-2 * z).tolist(), [4.0] * 79, 0.0), rtol=1e-12)


def test_integers_are_refused_where_the_answer_would_be_rounded_to_them():
    x, y = torch.tensor([[0.0], [1.0]]), torch.tensor([0.5, -0.5])
    hyper = kernel(lengths=(1.0,))
    with pytest.raises(ValueError, match=r"posterior: at must be a tensor of floats, got torch.int64"):
        gaussian.posterior(x, y, torch.tensor([[0], [2]]), **hyper)
    with pytest.raises(ValueError, match=r"log_marginal: y must be a tensor of floats, got torch.int64"):
        gaussian.log_marginal(x, y.long(), **hyper)
    with pytest.raises(ValueError, match=r"posterior: x must be a tensor of floats, got ndarray"):
        gaussian.posterior(x.numpy(), y, x, **hyper)
    for improvement in (acquisition.expected_improvement, acquisition.log_improvement_slopes):
        with pytest.raises(ValueError, match=r"improvement\w*: mean must be a tensor of floats, got torch.int64"):
            improvement(torch.tensor([0, 1]), torch.ones(2), best=0.5)


@pytest.mark.parametrize(("change", "message"), [
    ({"signal": torch.ones(2)}, r"signal must be one number, got shape \(2,\)"),
    ({"noise": torch.ones(2)}, r"noise must be one number, got shape \(2,\)"),
    ({"noise": None}, "noise must be a tensor or number, got None"),
    ({"lengths": 1.0}, r"lengths must have shape \(1,\), got \(\)"),
])  # fmt: skip
def test_a_kernel_that_would_be_broadcast_is_refused(change, message):
    with pytest.raises(ValueError, match=f"posterior: {message}"):
        gaussian.posterior(torch.rand(2, 1), torch.rand(2), torch.rand(2, 1), **{**kernel(lengths=(1.0,)), **change})


def test_a_forecast_at_points_of_other_dimensions_is_refused():
    given = gaussian.condition(torch.rand(3, 1), torch.rand(3), gaussian.Hyper(**kernel(lengths=(1.0,))))
    with pytest.raises(ValueError, match=r"forecast: at must have shape \(points, 1\), got \(4, 2\)"):
        gaussian.forecast(given, torch.rand(4, 2))
