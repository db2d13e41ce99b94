import healpy
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Annotation

from mflens.evaluate.posterior import score_posterior
from mflens.infer.methods import METHODS
from mflens.report.calibration import LARGEST_RANGE, plot_calibration
from mflens.report.methods import plot_cost, plot_methods
from mflens.report.pairs import plot_pairing
from mflens.report.posteriors import plot_posteriors
from mflens.report.sky import plot_sky, zoom_centre
from mflens.report.style import METHOD_STYLES, TIER_STYLES, save_figure, tier_styles
from mflens.report.training import plot_training

NAMES = ["Omega_m", "sigma_8", "h", "n_s"]


def labels(figure):
    """All axis labels and titles of a figure."""
    found = [figure.get_suptitle(), figure.get_supxlabel(), figure.get_supylabel()]
    for ax in figure.get_axes():
        found += [
            ax.get_xlabel(),
            ax.get_ylabel(),
            *(ax.get_title(loc=s) for s in ("left", "center", "right")),
        ]
    return " | ".join(found)


def smallest_text(figure):
    figure.draw_without_rendering()
    return min(t.get_fontsize() for t in figure.findobj(lambda a: hasattr(a, "get_fontsize")))


def scores(d, n_test=8, n_samples=40, method="paired", bias=0.0):
    rng = np.random.default_rng(1)
    theta = rng.standard_normal((n_test, d))
    samples = bias + rng.standard_normal((n_test, n_samples, d))

    def log_prob(x):
        return -0.5 * (x**2).sum(-1)

    found = score_posterior(
        theta,
        samples,
        log_prob(samples - bias),
        log_prob(theta - bias),
        log_prob(theta),
        names=NAMES[:d],
        rng=rng,
    )
    return {"method": method, "n_high": 4, **found}


def history(members=2, epochs=6):
    rows = [
        {"member": m, "epoch": e, "train": np.nan if e == 0 else 3 - e / 2, "validation": 3 - e / 3}
        for m in range(members)
        for e in range(epochs)
    ]
    return pd.DataFrame(rows)


def test_every_method_and_tier_has_its_own_look():
    assert set(METHOD_STYLES) == set(METHODS)
    for styles in (METHOD_STYLES, TIER_STYLES):
        for part in ("label", "colour", "marker", "line"):
            assert len({str(getattr(style, part)) for style in styles.values()}) == len(styles)


def test_own_tiers_get_spare_colours():
    styles = tier_styles(["lognormal", "my_tier", "other"])
    assert styles["lognormal"] == TIER_STYLES["lognormal"]
    assert styles["my_tier"].label == "my tier"
    assert len({style.colour for style in styles.values()}) == 3


@pytest.mark.parametrize("n_bins", [1, 3])
@pytest.mark.parametrize("footprint", ["octant", "full"])
def test_sky(n_bins, footprint):
    nside = 4
    rng = np.random.default_rng(1)
    low, high = rng.standard_normal((2, n_bins, 12 * nside**2)) * 1e-3
    pixel = np.arange(nside**2 if footprint == "octant" else 12 * nside**2)
    figure = plot_sky(low, high, pixel, tiers=["lognormal", "lpt"], sim=7, parameters="$h = 0.7$")
    text = labels(figure)
    for expected in (
        "sim 7: $h = 0.7$",
        "lognormal",
        "2LPT $-$ lognormal",
        f"source bin {n_bins}, zoom",
    ):
        assert expected in text
    assert "kappa" in text
    assert smallest_text(figure) >= 7


def test_zoom_centre_lies_in_the_footprint():
    nside = 8
    z = healpy.pix2vec(nside, np.arange(12 * nside**2))[2]
    ring = (np.abs(z) < 0.2).astype(float)
    lon, lat = zoom_centre(ring, nside)
    assert ring[healpy.ang2pix(nside, lon, lat, lonlat=True)] == 1


@pytest.mark.parametrize(("n_levels", "n_bins"), [(1, 1), (2, 6)])
def test_pairing(n_levels, n_bins):
    rng = np.random.default_rng(1)
    arrays = rng.random((3, n_levels, 4, n_bins, 3))
    ladder = ["lognormal", "lpt", "particle_mesh"][: n_levels + 1]
    figure = plot_pairing(
        *arrays,
        r_partly=rng.random((n_levels, 2, 4, n_bins, 3)),
        fractions=np.array([0.5, 0.25]),
        edges=np.array([2, 8, 16, 32]),
        ladder=ladder,
    )
    assert len(figure.axes) == 2 * n_levels
    text = labels(figure)
    assert "lognormal and 2LPT, 4 pairs" in text
    assert "multipole" in text
    assert "correlation" in text
    assert "25 %" in [note.get_text() for note in figure.findobj(Annotation)]
    assert smallest_text(figure) >= 7


@pytest.mark.parametrize("n_high", [[4], [4, 16]])
def test_training(n_high):
    runs = [(m, n, history()) for m in ("transfer", "paired") for n in n_high]
    figure = plot_training(history(1), [*runs, ("linear", 4, history()[:0])], n_parameters=2)
    text = labels(figure)
    for expected in ("pretraining", "transfer", "paired", "epoch", "loss (nats)"):
        assert expected in text
    assert "linear" not in text
    assert smallest_text(figure) >= 7


def test_training_without_finetuning():
    figure = plot_training(history(1), [("prior", 0, history()[:0])], n_parameters=1)
    assert len(figure.axes) == 1


@pytest.mark.parametrize(("d", "n_sims"), [(1, 3), (2, 1), (4, 3)])
def test_posteriors(d, n_sims):
    rng = np.random.default_rng(1)
    draws = {m: rng.normal(0.5, 0.1, (n_sims, 60, d)) for m in ("linear", "paired")}
    bounds = np.array([[0.0, 1.0], [-np.inf, np.inf], [0.0, 1.0], [0.0, 1.0]])[:d]
    figure = plot_posteriors(
        draws,
        np.full((n_sims, d), 0.5),
        sims=range(n_sims),
        names=NAMES[:d],
        latex=NAMES[:d],
        bounds=bounds,
        n_high=4,
    )
    text = labels(figure)
    assert all(f"${name}$" in text for name in NAMES[:d])
    assert sum(ax.get_visible() for ax in figure.get_axes()) == n_sims * d * (d + 1) // 2
    assert smallest_text(figure) >= 7


@pytest.mark.parametrize("d", [1, 4])
def test_calibration(d):
    rows = [scores(d), scores(d, method="mlmc", bias=9.0)]
    figure = plot_calibration(rows, latex=dict(zip(NAMES, NAMES, strict=True)))
    assert len(figure.axes) == 6
    text = labels(figure)
    for expected in ("HPD", "TARP", "SBC", "8 tests", "MLMC"):
        assert expected in text
    # a method that fails altogether must not flatten the others
    assert figure.axes[0].get_ylim()[1] == LARGEST_RANGE
    assert smallest_text(figure) >= 7


def methods_table(names=("prior", "low_only", "mlmc", "paired")):
    rows = [
        {
            "method": m,
            "n_high": n,
            "n_test": 8,
            "nlpd_minus_prior": v,
            "nlpd_minus_prior_error": 0.1,
        }
        | {"cost_core_s": 10.0 + n}
        for m, n, v in [
            ("prior", 0, 0.0),
            ("low_only", 0, 4.2),
            ("mlmc", 4, 55.5),
            ("mlmc", 16, 0.5),
            ("paired", 4, -1.0),
            ("paired", 16, -2.0),
        ]
        if m in names
    ]
    return pd.DataFrame(rows)


def test_methods_worse_than_the_prior_stay_visible():
    figure = plot_methods(methods_table())
    for ax in figure.axes:
        text = [t.get_text() for t in ax.texts]
        assert {"+55.5", "+4.2", "worse than the prior"} <= set(text)
        assert "+0.5" not in text
    assert "8 test sims" in labels(figure)
    assert "core-seconds" in labels(figure)
    assert smallest_text(figure) >= 7


@pytest.mark.parametrize("names", [["prior"], ["paired"]])
def test_one_method(names):
    assert len(plot_methods(methods_table(names)).axes) == 2


def test_cost():
    cost = pd.DataFrame(
        {
            "rule": ["simulate_maps", "simulate_maps", "draw_parameters"],
            "tier": ["lognormal", "my_tier", "-"],
            "jobs": [2, 1, 1],
            "core_s": [10.0, 30.0, 0.0],
            "max_rss_mb": [100.0, 2048.0, np.nan],
        }
    )
    ax = plot_cost(cost, ladder=["lognormal", "my_tier"]).axes[0]
    names = [label.get_text() for label in ax.get_yticklabels()]
    assert names == ["draw_parameters", "simulate_maps, lognormal", "simulate_maps, my tier"]
    assert "core-seconds" in ax.get_xlabel()
    text = [t.get_text() for t in ax.texts]
    assert text == [
        "0 core-s, 0.0 %, 1 job",
        "10 core-s, 25.0 %, 2 jobs, 0.1 GiB",
        "30 core-s, 75.0 %, 1 job, 2.0 GiB",
    ]


def test_saved_figures_are_whole_and_reproducible(tmp_path):
    def draw(name):
        figure = plot_methods(methods_table())
        save_figure(figure, tmp_path / f"{name}.pdf", tmp_path / f"{name}.png")
        return (tmp_path / f"{name}.pdf").read_bytes(), (tmp_path / f"{name}.png").read_bytes()

    pdf, png = draw("a")
    assert pdf.startswith(b"%PDF")
    assert pdf.rstrip().endswith(b"%%EOF")
    assert png.startswith(b"\x89PNG")
    assert (pdf, png) == draw("b")
    assert {path.name for path in tmp_path.iterdir()} == {"a.pdf", "a.png", "b.pdf", "b.png"}


def test_a_failed_save_leaves_nothing(tmp_path, monkeypatch):
    def fail(self, path, **options):
        path.write_bytes(b"%PDF")
        raise OSError("disk full")

    monkeypatch.setattr(Figure, "savefig", fail)
    with pytest.raises(OSError, match="disk full"):
        save_figure(Figure(), tmp_path / "a.pdf", tmp_path / "a.png")
    assert list(tmp_path.iterdir()) == []
