"""The published tasks' simulators: interface, randomness, closed forms, errors."""

import shutil

import numpy as np
import pytest
from scipy import stats

from mflens.errors import ConfigError, DataError
from mflens.prior import Prior
from mflens.tasks.simulators import g_and_k, ornstein_uhlenbeck, toggle_switch
from mflens.tasks.simulators.rejection import cells, first_accepted, normal_mass, truncated_normal
from mflens.tasks.simulators.splits import ladder_splits
from mflens.tasks.simulators.toys import SimulatedToy, make_toy

POINTS = [0, 3, 9, 31, 99]
OPTIONS = {
    "g_and_k": {"m": 1, "prefactor": "published", "gap": 1.0},
    "ornstein_uhlenbeck": {"points": POINTS, "initial": "fixed"},
    "toggle_switch": {"steps": [5, 8, 30]},
}
N_ROWS, N_K = 60, 7


@pytest.fixture
def folder(tmp_path):
    """A small folder in the form of the CAMELS spectra, every number of which is its row's."""
    rng = np.random.default_rng(0)
    np.save(tmp_path / "k.npy", np.linspace(0.4, 9.9, N_K))
    power = 1 + np.arange(N_ROWS)[:, None] + np.zeros(N_K)
    for word, factor in (("hydro", 1.0), ("nbody", 2.0)):
        np.save(tmp_path / f"pk_{word}.npy", factor * power)
        np.save(tmp_path / f"x_{word}_noisy.npy", factor * power)
    lines = ["#Name Omega_m sigma_8 A_SN1 seed"]
    for row, (om, s8) in enumerate(rng.uniform([0.1, 0.6], [0.5, 1.0], (N_ROWS, 2))):
        lines.append(f"LH_{row} {om:.5f} {s8:.5f} 1.0 {row}")
    (tmp_path / "parameters.txt").write_text("\n".join(lines) + "\n")
    return tmp_path


def spectra(folder, parameters=("sigma_8",), noise="published"):
    options = {"path": str(folder), "parameters": list(parameters), "noise": noise}
    return make_toy("camels", options)


def sizes(ladder):
    return {split: 5 + i for i, split in enumerate(ladder_splits(ladder))}


@pytest.fixture(params=[*OPTIONS, "camels"])
def toy(request, folder):
    if request.param == "camels":
        return spectra(folder, noise="matched")
    return make_toy(request.param, OPTIONS[request.param])


def test_splits_have_their_tiers_and_sizes(toy):
    drawn = toy.draw(sizes(toy.ladder), np.random.default_rng(0), 1.0)
    prior = Prior(toy.parameters)
    low, high = prior.bounds.T
    for split, tiers in ladder_splits(toy.ladder).items():
        n = sizes(toy.ladder)[split]
        assert set(drawn[split]) == {"theta", *tiers}
        assert drawn[split]["theta"].shape == (n, len(prior.names))
        assert ((drawn[split]["theta"] >= low) & (drawn[split]["theta"] <= high)).all()
        assert all(drawn[split][tier].shape[0] == n for tier in tiers)
        assert all(np.isfinite(array).all() for array in drawn[split].values())
    assert len(toy.costs) == len(toy.ladder) and toy.costs == sorted(toy.costs)


def test_same_seed_same_arrays_and_no_split_depends_on_another(toy):
    def draw(wanted, seed=3):
        return toy.draw(wanted, np.random.default_rng(seed), 0.5 if hasattr(toy, "tiers") else 1.0)

    all_sizes = sizes(toy.ladder)
    drawn = draw(all_sizes)
    top = f"pairs_{toy.ladder[-1]}"
    for split in ("bulk", "test", top):
        again = draw({split: all_sizes[split]} if split != top else {"test": 5, top: 7})
        for name, array in again[split].items():
            np.testing.assert_array_equal(array, drawn[split][name][: len(array)])
    smaller, larger = draw({"bulk": 3})["bulk"], draw({"bulk": 9})["bulk"]
    for name, array in smaller.items():
        np.testing.assert_array_equal(array, larger[name][:3])
    assert (draw(all_sizes, 4)["test"]["theta"] != drawn["test"]["theta"]).any()


def test_splits_share_no_sims(toy):
    drawn = toy.draw(sizes(toy.ladder), np.random.default_rng(0), 1.0)
    theta = np.concatenate([arrays["theta"] for arrays in drawn.values()])
    assert len(np.unique(theta[:, 0])) == len(theta)


def at_one_point(task):
    """Return simulators whose prior is next to nothing wide, so that noise is all that varies."""
    toy = make_toy(task, OPTIONS[task])
    middle = {
        name: {**entry, "min": (entry["min"] + entry["max"]) / 2, "max": 1e-9}
        for name, entry in toy.parameters.items()
    }
    for entry in middle.values():
        entry["max"] += entry["min"]
    return SimulatedToy(toy.tiers, middle)


@pytest.mark.parametrize("task", OPTIONS)
def test_broken_pairing_leaves_no_correlation_and_partial_pairing_some(task):
    toy, n = at_one_point(task), 2000
    correlation = {}
    for shared in (1.0, 0.5, 0.0):
        split = f"pairs_{toy.ladder[1]}"
        pairs = toy.draw({split: n}, np.random.default_rng(1), shared)[split]
        low, high = (pairs[tier][:, 0] for tier in toy.ladder[:2])
        correlation[shared] = stats.spearmanr(low, high).statistic
        # the expensive member is the same whatever is shared
        reference = toy.draw({split: n}, np.random.default_rng(1), 1.0)[split]
        np.testing.assert_array_equal(pairs[toy.ladder[1]], reference[toy.ladder[1]])
    assert correlation[1.0] > 0.9
    assert 0.2 < correlation[0.5] < 0.8
    assert abs(correlation[0.0]) < 4 / n**0.5


def test_simulating_at_given_parameters_has_the_law_of_the_tier():
    toy = make_toy("ornstein_uhlenbeck", OPTIONS["ornstein_uhlenbeck"])
    theta = np.broadcast_to([0.5, 1.0, 0.3], (4, 500, 3))
    x = toy.simulate("stationary", theta, np.random.default_rng(0))
    assert x.shape == (4, 500, 5)
    assert stats.kstest(x.ravel(), stats.norm(1.0, 0.3).cdf).pvalue > 0.01


def test_g_and_k_without_skewness_and_tails_is_normal():
    theta = np.array([[0.5, 2.0, 0.0, 1.0]])
    u = np.linspace(0.001, 0.999, 50)
    x, log_p = g_and_k.log_density_at_quantiles(theta, u)
    normal = stats.norm(0.5, 2.0)
    np.testing.assert_allclose(x[0], normal.ppf(u))
    np.testing.assert_allclose(log_p[0], normal.logpdf(x[0]))
    np.testing.assert_allclose(g_and_k.log_density(theta, x[0]), log_p)


def test_g_and_k_slope_and_inverse():
    theta = Prior(g_and_k.PARAMETERS).from_unit(np.random.default_rng(0).random((20, 4)))
    z = np.broadcast_to(np.linspace(-6, 6, 41), (20, 41))
    step = 1e-5
    slope = (g_and_k.from_normal(theta, z + step) - g_and_k.from_normal(theta, z - step)) / step / 2
    np.testing.assert_allclose(np.exp(g_and_k.log_slope(theta, z)), slope, rtol=1e-6)
    np.testing.assert_allclose(
        g_and_k.to_normal(theta, g_and_k.from_normal(theta, z)), z, atol=1e-8
    )


def test_taylor_expansion_is_the_quantile_function_near_the_median():
    u = np.array([0.49, 0.5, 0.51])
    exact = stats.norm.ppf(u)
    np.testing.assert_allclose(g_and_k.expand(u, g_and_k.PREFACTORS["taylor"]), exact, atol=1e-8)
    # the public code's is too steep by sqrt(pi)
    published = g_and_k.expand(u, g_and_k.PREFACTORS["published"])
    np.testing.assert_allclose(published, np.sqrt(np.pi) * exact, atol=1e-8)


def test_octile_summaries():
    x = np.arange(1001.0)[None]
    np.testing.assert_allclose(g_and_k.summarise(x), [[500, 500, 0, 1]], atol=1e-12)
    octiles = g_and_k.summarise(np.exp(x / 250))
    e = np.exp(np.arange(5) / 2)  # of 1/4 to 3/4
    np.testing.assert_allclose(octiles[0, 2], (e[4] + 1 - 2 * e[2]) / (e[4] - 1), rtol=1e-3)


def test_order_statistics_next_to_the_octiles():
    u, above = g_and_k.octile_neighbours(1000)
    np.testing.assert_allclose(above, [0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125])
    rank = np.floor(999 * g_and_k.OCTILES)[:, None] + [1, 2]
    np.testing.assert_allclose(u.mean(0), rank / 1001, atol=1e-3)
    np.testing.assert_allclose(u.std(0), stats.beta(rank, 1001 - rank).std(), rtol=0.03)


@pytest.mark.parametrize("initial", ["fixed", "free"])
def test_process_likelihood_is_that_of_an_autoregression(initial):
    toy = make_toy("ornstein_uhlenbeck", {"points": POINTS, "initial": initial})
    test = toy.draw({"test": 4}, np.random.default_rng(0), 1.0)["test"]
    found = ornstein_uhlenbeck.log_likelihood(test["theta"], test["euler_maruyama"], POINTS)
    steps = np.array(POINTS) + 1
    for theta, x, log_p in zip(test["theta"], test["euler_maruyama"], found, strict=True):
        gamma, mu, sigma, start = [*theta, 2.0][:4]
        a = 1 - 0.1 * gamma
        mean = mu + a**steps * (start - mu)
        first, second = np.minimum.outer(steps, steps), np.maximum.outer(steps, steps)
        covariance = 0.1 * sigma**2 * a ** (second - first) * (1 - a ** (2 * first)) / (1 - a**2)
        assert log_p == pytest.approx(stats.multivariate_normal(mean, covariance).logpdf(x))


def test_truncated_normal_is_scipys():
    mean, sd = np.array([-1.0, 0.2, 50.0]), 0.5
    u = np.array([0.3, 0.9, 0.01])
    expected = stats.truncnorm.ppf(u, -mean / sd, np.inf, loc=mean, scale=sd)
    np.testing.assert_allclose(toggle_switch.truncated_normal(mean, sd, u), expected)


def test_a_shorter_toggle_switch_uses_the_first_steps_of_a_longer_one():
    short, long = (toggle_switch.ToggleSwitch(n) for n in (5, 30))
    theta = Prior(toggle_switch.PARAMETERS).from_unit(np.random.default_rng(0).random((9, 7)))
    base = np.random.default_rng(1).random((9, long.n_base))
    other = base.copy()
    other[:, short.n_base :] = 0.5
    np.testing.assert_array_equal(short.observe(theta, base), short.observe(theta, other))
    assert (long.observe(theta, base) != long.observe(theta, other)).any()


def test_normals_between_far_bounds_keep_their_digits():
    low, high = np.array([9.0, -12.0, -1.0]), np.array([10.0, -11.0, 1.0])
    tails = [stats.norm.sf(9) - stats.norm.sf(10), stats.norm.sf(11) - stats.norm.sf(12)]
    np.testing.assert_allclose(normal_mass(low, high), [*tails, 1 - 2 * stats.norm.sf(1)])
    shape = np.zeros((500, 3))
    drawn = truncated_normal(low + shape, high + shape, np.random.default_rng(0))
    assert (np.clip(drawn, low, high) == drawn).all()
    np.testing.assert_allclose(drawn.mean(0), stats.truncnorm(low, high).mean(), atol=0.1)


def test_cells_fill_an_interval():
    centres, width = cells(np.array([1.0, 3.0]), 4)
    np.testing.assert_allclose(centres, [1.25, 1.75, 2.25, 2.75])
    assert width == 0.5


def test_rejection_keeps_targets_apart_and_gives_up_on_the_impossible():
    rng = np.random.default_rng(0)
    bound = np.array([0.5, 0.02])

    def propose(targets, n):
        u = rng.random((len(targets), n))
        return u[..., None], u < bound[targets][:, None]

    samples = first_accepted(propose, 2, 200)
    assert samples.shape == (2, 200, 1)
    for one, high in zip(samples[..., 0], bound, strict=True):
        assert stats.kstest(one / high, "uniform").pvalue > 0.01
    bound[1] = -1.0
    with pytest.raises(DataError, match="impossible under the prior"):
        first_accepted(propose, 2, 4)


def test_published_noise_is_that_of_the_files(folder):
    toy = spectra(folder)
    drawn = toy.draw({"pairs_hydro": 10, "bulk": 40, "test": 10}, np.random.default_rng(0), 1.0)
    pairs = drawn["pairs_hydro"]
    row = np.round(np.exp(pairs["hydro"])[:, 0] - 1).astype(int)
    np.testing.assert_allclose(pairs["n_body"], pairs["hydro"] + np.log(2))
    table = np.loadtxt(folder / "parameters.txt", usecols=2)
    np.testing.assert_allclose(pairs["theta"][:, 0], table[row])


def test_matched_noise_is_the_same_for_both_members(folder):
    toy = spectra(folder, ["Omega_m", "sigma_8"], "matched")
    assert list(toy.parameters) == ["Omega_m", "sigma_8"]
    k = np.load(folder / "k.npy")

    def noise(shared):
        pairs = toy.draw({"pairs_hydro": N_ROWS}, np.random.default_rng(0), shared)["pairs_hydro"]
        table = np.loadtxt(folder / "parameters.txt", usecols=(1, 2))
        row = [int(np.argmin(np.abs(table - theta).sum(1))) for theta in pairs["theta"]]
        power = {tier: toy.power[tier][row] for tier in toy.ladder}
        return [
            (np.exp(pairs[tier]) / k - power[tier]) / (0.2 * (0.05 + power[tier]))
            for tier in toy.ladder
        ]

    low, high = noise(1.0)
    np.testing.assert_allclose(low, high, atol=1e-9)
    assert stats.kstest(high.ravel(), "norm").pvalue > 0.01
    low, high = noise(0.0)
    assert abs(np.corrcoef(low.ravel(), high.ravel())[0, 1]) < 4 / high.size**0.5


def corrupt(folder, name, change):
    path = folder / name
    np.save(path, change(np.load(path)))


def raise_a_parameter(folder):
    path = folder / "parameters.txt"
    path.write_text(path.read_text().replace("LH_3 ", "LH_3 7"))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (shutil.rmtree, ["there is no folder"]),
        (lambda f: (f / "k.npy").unlink(), ["k.npy", "cannot be read"]),
        (lambda f: (f / "parameters.txt").unlink(), ["parameters.txt", "cannot be read"]),
        (lambda f: (f / "pk_nbody.npy").write_text("no"), ["pk_nbody.npy", "cannot be read"]),
        (lambda f: (f / "parameters.txt").write_text("a b c\n"), ["parameters.txt", "row"]),
        (raise_a_parameter, ["Omega_m", "outside 0.1 to 0.5", "columns"]),
        (lambda f: corrupt(f, "k.npy", lambda k: k[None]), ["k.npy", "(1, 7)", "(n_k,)"]),
        (lambda f: corrupt(f, "pk_hydro.npy", lambda p: p[1:]), ["pk_hydro", "(59, 7)", "(60, 7)"]),
        (lambda f: corrupt(f, "x_hydro_noisy.npy", lambda x: -x), ["x_hydro", "not positive"]),
        (lambda f: corrupt(f, "pk_nbody.npy", lambda p: p * np.nan), ["pk_nbody", "not positive"]),
    ],
)
def test_a_bad_folder_is_named_with_its_remedy(folder, damage, words):
    damage(folder)
    with pytest.raises(ConfigError) as caught:
        spectra(folder, ["sigma_8", "Omega_m"])
    message = str(caught.value)
    assert message.startswith("tasks.camels.options.path: ") and str(folder) in message
    assert all(word in message for word in words), message


def test_any_number_of_rows_will_do(folder):
    for name in ("pk_hydro", "pk_nbody", "x_hydro_noisy", "x_nbody_noisy"):
        corrupt(folder, f"{name}.npy", lambda array: array[:20])
    lines = (folder / "parameters.txt").read_text().splitlines()[:21]
    (folder / "parameters.txt").write_text("\n".join(lines))
    drawn = spectra(folder).draw({"bulk": 15, "test": 5}, np.random.default_rng(0), 1.0)
    assert len(drawn["bulk"]["n_body"]) == 15


def test_camels_refuses_what_its_files_do_not_hold(folder):
    toy, rng = spectra(folder), np.random.default_rng(0)
    with pytest.raises(ConfigError, match=r"61 sims .*bulk 41, test 20.* holds 60.*lower"):
        toy.draw({"bulk": 41, "test": 20}, rng, 1.0)
    with pytest.raises(ConfigError, match=r"tasks\.camels\.shared: 0\.5 .*matched"):
        toy.draw({"test": 20}, rng, 0.5)
    with pytest.raises(ConfigError, match="nothing can be simulated"):
        toy.simulate("hydro", np.ones((1, 1)), rng)


@pytest.mark.parametrize(
    ("task", "options", "words"),
    [
        ("nothing", {}, ["unknown task 'nothing'", "camels"]),
        ("g_and_k", {"m": 1}, ["tasks.g_and_k.options", "prefactor"]),
        ("g_and_k", {"m": 0, "prefactor": "taylor", "gap": 1.0}, ["options.m: 0", "1 or more"]),
        ("g_and_k", {"m": 1, "prefactor": "x", "gap": 1.0}, ["options.prefactor: 'x'", "taylor"]),
        ("g_and_k", {"m": 1, "prefactor": "taylor", "gap": 2}, ["options.gap: 2", "from 0"]),
        ("ornstein_uhlenbeck", {"points": [3, 3], "initial": "free"}, ["points: [3, 3]", "99"]),
        ("ornstein_uhlenbeck", {"points": [100], "initial": "free"}, ["points: [100]", "99"]),
        ("ornstein_uhlenbeck", {"points": [], "initial": "free"}, ["points: []", "99"]),
        ("ornstein_uhlenbeck", {"points": [9], "initial": 2}, ["initial: '2'", "fixed or free"]),
        ("toggle_switch", {"steps": [80, 50]}, ["steps: [80, 50]", "cheapest"]),
        ("toggle_switch", {"steps": [0, 50]}, ["steps: [0, 50]", "cheapest"]),
        ("camels", {"path": "", "parameters": ["h"], "noise": "matched"}, ["['h']", "sigma_8"]),
        ("camels", {"path": "", "parameters": [], "noise": "matched"}, ["[]", "sigma_8"]),
        ("camels", {"path": "", "parameters": ["sigma_8"], "noise": "no"}, ["'no'", "matched"]),
    ],
)
def test_bad_options_are_named(task, options, words):
    with pytest.raises(ConfigError) as caught:
        make_toy(task, options)
    assert all(word in str(caught.value) for word in words), caught.value


def test_an_unknown_split_is_named(toy):
    with pytest.raises(ConfigError, match="'pairs_x' is no split of the ladder"):
        toy.draw({"pairs_x": 3}, np.random.default_rng(0), 1.0)
