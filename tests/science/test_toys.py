"""The published tasks against closed forms, scalar reference loops and brute force."""

import numpy as np
import pytest
from scipy import stats

from mflens.evaluate.distances import c2st
from mflens.prior import Prior
from mflens.tasks.simulators import g_and_k, ornstein_uhlenbeck, toggle_switch
from mflens.tasks.simulators.toys import make_toy

POINTS = [0, 3, 9, 31, 99]
OPTIONS = {
    "g_and_k": {"m": 1000, "prefactor": "published", "gap": 1.0},
    "fixed": {"points": POINTS, "initial": "fixed"},
    "free": {"points": POINTS, "initial": "free"},
}


def make(name):
    return make_toy("g_and_k" if name == "g_and_k" else "ornstein_uhlenbeck", OPTIONS[name])


@pytest.mark.slow
def test_g_and_k_density_integrates_to_one_and_is_the_histogram():
    rng = np.random.default_rng(0)
    theta = Prior(g_and_k.PARAMETERS).from_unit(rng.random((8, 4)))
    # equal steps in asinh x, as the tails are heavy
    s = np.linspace(-12, 12, 200001)
    density = np.exp(g_and_k.log_density(theta, np.sinh(s))) * np.cosh(s)
    np.testing.assert_allclose(np.trapezoid(density, s), 1, atol=1e-4)
    draws = g_and_k.GAndK(1, 1.0, 0.0).observe(np.repeat(theta, 20000, 0), rng.random((160000, 1)))
    cumulative = np.cumsum(density, axis=1) * (s[1] - s[0])
    for x, c in zip(draws.reshape(8, -1), cumulative, strict=True):
        assert stats.kstest(np.interp(np.arcsinh(x), s, c), "uniform").pvalue > 1e-3


@pytest.mark.slow
def test_octile_summaries_have_the_moments_of_the_reference():
    rng = np.random.default_rng(1)
    shape = np.array([[0.2, 1.8], [2.9, 2.9]])
    n = 4000
    for (mean, *covariance), (skewness, kurtosis) in zip(
        g_and_k.octile_moments(shape, 1000), shape, strict=True
    ):
        theta = np.tile([0, 1, skewness, kurtosis], (n, 1))
        s = g_and_k.GAndK(1000, 1.0, 0.0).observe(theta, rng.random((n, 1000)))
        w = np.stack([s[:, 0], np.log(s[:, 1]), np.arctanh(s[:, 2]), np.log(s[:, 3])])
        sd = np.sqrt(np.diag(covariance))
        assert np.abs((w.mean(1) - mean) / sd).max() < 4 / n**0.5
        np.testing.assert_allclose(
            np.cov(w) / np.outer(sd, sd), covariance / np.outer(sd, sd), atol=0.08
        )
        assert np.abs(stats.skew(w, axis=1)).max() < 0.45


@pytest.mark.slow
@pytest.mark.parametrize("initial", ["fixed", "free"])
def test_process_has_its_mean_and_covariance(initial):
    rng, n = np.random.default_rng(2), 20000
    gamma, mu, sigma, start = 0.7, 1.4, 0.5, 3.3 if initial == "free" else 2.0
    theta = np.tile([gamma, mu, sigma, start][: 4 if initial == "free" else 3], (n, 1))
    x = make(initial).simulate("euler_maruyama", theta, rng)
    a, steps = 1 - 0.1 * gamma, np.array(POINTS) + 1
    sd = np.sqrt(0.1 * sigma**2 * (1 - a ** (2 * steps)) / (1 - a**2))
    assert np.abs((x.mean(0) - mu - a**steps * (start - mu)) / sd).max() < 4 / n**0.5
    # correlation a^lag sd_first / sd_second
    correlation = a ** np.abs(np.subtract.outer(steps, steps)) * np.minimum.outer(sd, sd)
    correlation /= np.maximum.outer(sd, sd)
    np.testing.assert_allclose(np.cov(x.T) / np.outer(sd, sd), correlation, atol=0.04)


@pytest.mark.slow
@pytest.mark.parametrize("initial", ["fixed", "free"])
def test_exact_posterior_is_that_of_brute_force(initial):
    """Importance weights of 10^6 prior draws, for a handful of observations."""
    toy, rng = make(initial), np.random.default_rng(3)
    x = toy.draw({"test": 6}, rng, 1.0)["test"]["euler_maruyama"]
    samples = toy.posterior.sample(x, 40000, rng)
    drawn = Prior(toy.parameters).from_unit(rng.random((1_000_000, samples.shape[-1])))
    for one, found in zip(x, samples, strict=True):
        log_w = ornstein_uhlenbeck.log_likelihood(drawn, one, POINTS)
        w = np.exp(log_w - log_w.max())
        w /= w.sum()
        error = np.sqrt(1 / 40000 + (w**2).sum())  # of means, in units of the width
        mean = w @ drawn
        sd = np.sqrt(w @ (drawn - mean) ** 2)
        assert np.abs((found.mean(0) - mean) / sd).max() < 4.5 * error
        np.testing.assert_allclose(found.std(0) / sd, 1, atol=6 * error)
        resampled = drawn[rng.choice(len(w), 4000, p=w)]
        # repeated draws can be told apart, so this needs enough different ones
        if 1 / (w**2).sum() > 40000:
            assert c2st(found[None, :4000], resampled[None], 0)[0] < 0.53


@pytest.mark.slow
@pytest.mark.parametrize("name", OPTIONS)
def test_exact_posterior_passes_simulation_based_calibration(name):
    toy, rng = make(name), np.random.default_rng(4)
    test = toy.draw({"test": 500}, rng, 1.0)["test"]
    samples = toy.posterior.sample(test[toy.ladder[-1]], 300, rng)
    low, high = Prior(toy.parameters).bounds.T
    assert ((samples >= low) & (samples <= high)).all()
    ranks = (samples < test["theta"][:, None]).mean(1)
    p = [stats.kstest(rank, "uniform").pvalue for rank in ranks.T]
    assert min(p) > 0.01 / len(p), p
    # the sum of the standardised parameters is uniform too if correlations are right
    z, truth = (
        (a - samples.mean(1, keepdims=True)) / samples.std(1, keepdims=True)
        for a in (samples, test["theta"][:, None])
    )
    joint = (z.sum(-1) < truth.sum(-1)).mean(1)
    assert stats.kstest(joint, "uniform").pvalue > 0.01


@pytest.mark.slow
def test_toggle_switch_is_its_scalar_reference():
    rng = np.random.default_rng(5)
    steps = 20
    theta = Prior(toggle_switch.PARAMETERS).from_unit(rng.random((12, 7)))
    base = rng.random((12, 1 + 2 * steps))
    found = toggle_switch.ToggleSwitch(steps).observe(theta, base)[:, 0]

    def truncated(mean, sd, u):
        return stats.truncnorm.ppf(u, -mean / sd, np.inf, loc=mean, scale=sd)

    for (a1, a2, b1, b2, mu, sigma, gamma), noise, x in zip(theta, base, found, strict=True):
        u = v = 10.0
        for step in range(steps):
            u, v = (
                truncated(0.97 * u - 1 + a1 / (1 + v**b1), 0.5, noise[1 + 2 * step]),
                truncated(0.97 * v - 1 + a2 / (1 + u**b2), 0.5, noise[2 + 2 * step]),
            )
        expected = min(truncated(mu + u, mu * sigma / u**gamma, noise[0]), 2000.0)
        assert x == pytest.approx(expected, rel=1e-9)


@pytest.mark.slow
def test_seed_matched_tiers_are_correlated_as_measured():
    """Rank correlation over the prior with the pairing kept and broken, by feature."""
    expected = {
        ("g_and_k", "exact"): ({"m": 1, "prefactor": "published", "gap": 1.0}, [0.97], [0.14]),
        ("ornstein_uhlenbeck", "euler_maruyama"): (
            OPTIONS["fixed"], [0.70, 0.69, 0.77, 0.83, 0.87], [0.34, 0.53, 0.67, 0.77, 0.82]
        ),
        ("toggle_switch", "steps_80"): ({"steps": [50, 80, 300]}, [0.99], [0.66]),
        ("toggle_switch", "steps_300"): ({"steps": [50, 80, 300]}, [0.99], [0.67]),
    }  # fmt: skip
    for (task, tier), (options, matched, broken) in expected.items():
        toy = make_toy(task, options)
        for shared, correlation in ((1.0, matched), (0.0, broken)):
            split = f"pairs_{tier}"
            pairs = toy.draw({split: 4000}, np.random.default_rng(6), shared)[split]
            low, high = (pairs[name] for name in (toy.ladder[toy.ladder.index(tier) - 1], tier))
            found = [stats.spearmanr(a, b).statistic for a, b in zip(low.T, high.T, strict=True)]
            np.testing.assert_allclose(found, correlation, atol=0.05)


@pytest.mark.slow
def test_c2st_is_at_least_as_sharp_as_sbis():
    torch = pytest.importorskip("torch")
    from sbi.utils.metrics import c2st as theirs

    rng = np.random.default_rng(7)
    x = rng.standard_normal((3, 500, 3))
    factor = np.linalg.cholesky([[1, 0.7, 0], [0.7, 1, 0], [0, 0, 1]])
    for y in (
        rng.standard_normal((3, 500, 3)) + 0.8,
        rng.standard_normal((3, 500, 3)) * 1.6,
        rng.standard_normal((3, 500, 3)) @ factor.T,
    ):
        found = c2st(x, y, 0).mean()
        pairs = zip(torch.as_tensor(x), torch.as_tensor(y), strict=True)
        reference = np.mean([float(theirs(a.float(), b.float())) for a, b in pairs])
        assert reference - 0.015 < found < reference + 0.07
