"""Methods on the published tasks: means against the numbers of sims, all points, and coverage."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import Locator, MaxNLocator, StrMethodFormatter

from mflens.evaluate.posterior import LEVELS, coverage, coverage_band
from mflens.report.style import METHOD_STYLES, PAGE, Style, styled
from mflens.tasks.metrics import METRICS, TABLE_LEVELS

OWN_STYLES = {
    "linear_offset": Style("linear, offset", "#882255", "p", (0, (3, 1, 1, 1))),
    "middle_only": Style("middle only", "#999933", "h", (0, (2, 2))),
}
# in the order of all figures: what is alike stands together
STYLES = {
    name: (METHOD_STYLES | OWN_STYLES)[name]
    for name in (
        "prior", "linear_high", "linear", "linear_offset", "low_only", "middle_only", "high_only",
        "transfer", "mlmc", "paired",
    )
}  # fmt: skip
MOST_COLUMNS = 3
SPREAD = 0.62  # over which the methods of one run stand side by side, runs being 1 apart
# shares of the points inside each box, and widths of the boxes
BOXES = ((0.98, 0.22), (0.9, 0.4), (0.75, 0.58), (0.5, 0.76))
JITTER = 0.36
NOTE: dict[str, Any] = {"fontsize": 7, "va": "top", "ha": "left", "color": "0.3"}
PROMISED = 0.03  # the deviation of coverage that a good method stays within

TICK_DISTANCE = 0.11  # least, in shares of the axis

Scores = Mapping[str, Mapping[str, np.ndarray]]  # method to arrays of scores by name


class RoundTicks(Locator):
    """Ticks at 1, 2 and 5 times powers of ten of an axis that is linear near 0, not too close.

    Parameters
    ----------
    linear_width
        Of the axis.
    """

    def __init__(self, linear_width: float) -> None:
        self.linear_width = linear_width

    def __call__(self) -> Sequence[float]:
        """Return the ticks of the axis as it is."""
        assert self.axis is not None
        return self.tick_values(*self.axis.get_view_interval())

    def tick_values(self, vmin: float, vmax: float) -> Sequence[float]:
        """Return the ticks between two values, the roundest ones first served."""
        low, high = np.arcsinh(np.array([vmin, vmax]) / self.linear_width)
        powers = 10.0 ** np.arange(-4, 9)
        candidates = [0.0, *(s * m * p for m in (1, 5, 2) for p in powers[::-1] for s in (1, -1))]
        ticks: list[float] = []
        for value in candidates:
            place = np.arcsinh(value / self.linear_width)
            others = np.arcsinh(np.array(ticks) / self.linear_width)
            if low <= place <= high and np.all(abs(place - others) > TICK_DISTANCE * (high - low)):
                ticks.append(value)
        if len(ticks) < 3:
            return MaxNLocator(5).tick_values(vmin, vmax)
        return sorted(ticks)


def bend_axis(ax: Axes, linear_width: float) -> None:
    """Make the vertical axis linear near 0 and logarithmic beyond, so that all points fit."""
    ax.set_yscale("asinh", linear_width=linear_width)
    ax.yaxis.set_major_locator(RoundTicks(linear_width))
    ax.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))


@styled
def plot_task_methods(methods: pd.DataFrame) -> Figure:
    """Show means and standard errors of the leading metrics of every experiment.

    Parameters
    ----------
    methods
        Columns of `tasks.tables.METHOD_COLUMNS`.

    Returns
    -------
    Figure
        One row an experiment, one column a metric; runs stand side by side, in each all methods.
    """
    experiments = list(dict.fromkeys(methods["experiment"]))
    shown = {name: leading(methods[methods["experiment"] == name]) for name in experiments}
    n_columns = max(len(names) for names in shown.values())
    figure = Figure(figsize=(PAGE, 0.6 + 2.3 * len(experiments)), layout="constrained")
    axes = figure.subplots(len(experiments), n_columns, squeeze=False)
    for row, experiment in zip(axes, experiments, strict=True):
        rows = methods[methods["experiment"] == experiment]
        for ax, metric in zip(row, shown[experiment], strict=False):
            draw_means(ax, rows[rows["metric"] == metric])
            scale_axis(ax, metric)
            ax.set_ylabel(METRICS[metric].label)
        for ax in row[len(shown[experiment]) :]:
            ax.set_visible(False)
        row[0].set_title(f"{experiment}, {rows['estimator'].iloc[0]}", loc="left", weight="bold")
    add_legend(figure, methods["method"])
    return figure


def leading(rows: pd.DataFrame) -> list[str]:
    """Return the first metrics of an experiment, without those that another one says better."""
    names = [name for name in dict.fromkeys(rows["metric"]) if name in METRICS]
    hidden = {"nlpd"} if "nlpd_minus_prior" in names else set()
    hidden |= {"forward_kl_window"} if "forward_kl" in names else set()
    return [name for name in names if name not in hidden][:MOST_COLUMNS]


def draw_means(ax: Axes, rows: pd.DataFrame) -> None:
    """Draw mean and standard error of one metric: methods side by side in every run."""
    runs = list(dict.fromkeys(rows["levels"]))
    names = in_order(rows["method"])
    for i, name in enumerate(names):
        mine = rows[rows["method"] == name]
        style = STYLES[name]
        if name == "prior":
            ax.axhline(mine["mean"].mean(), color=style.colour, ls=style.line, zorder=0.5)
            continue
        shift = SPREAD * (i / max(len(names) - 1, 1) - 0.5)
        ax.errorbar(
            [runs.index(levels) + shift for levels in mine["levels"]], mine["mean"],
            yerr=mine["error"], color=style.colour, marker=style.marker, ls="none", capsize=1.5,
            elinewidth=0.8,
        )  # fmt: skip
    label_runs(ax, runs)


def label_runs(ax: Axes, runs: Sequence[str]) -> None:
    """Name the runs by their numbers of sims, cheapest tier first."""
    for edge in np.arange(0.5, len(runs) - 1):
        ax.axvline(edge, color="0.9", lw=0.6, zorder=0)
    several = any(levels.count("/") > 1 for levels in runs)
    ax.set_xticks(
        range(len(runs)), [levels.replace("/", "\n") if several else levels for levels in runs]
    )
    ax.tick_params(axis="x", length=0)
    ax.set_xlim(-0.5, len(runs) - 0.5)
    ax.set_xlabel("sims of the cheapest tier" + (", pairs" if several else " / pairs"))


def scale_axis(ax: Axes, metric: str) -> None:
    """Scale the vertical axis as the metric needs it, and mark where it has a natural zero."""
    if metric not in ("c2st", "rmse"):
        bend_axis(ax, METRICS[metric].linear_to)
    if metric == "nlpd_minus_prior":
        ax.axhline(0, color=STYLES["prior"].colour, lw=0.6, zorder=0)
    if metric == "c2st":
        ax.axhline(0.5, color="0.4", lw=0.6, zorder=0)


@styled
def plot_task_distributions(
    runs: Mapping[str, Scores], metrics: Sequence[str], *, experiment: str
) -> Figure:
    """Show the scores of every test sim of every repetition.

    Parameters
    ----------
    runs
        Numbers of sims, written n_0/n_1/..., to the scores of the run's methods, arrays of shape
        (repetition, test sim).
    metrics
        Names of metrics; those that are one number for many test sims are left out.
    experiment
        Its name.

    Returns
    -------
    Figure
        One row a metric, one column a run; all points, with boxes that hold 50, 75, 90 and 98 %.
    """
    names = [m for m in metrics if METRICS[m].array == m]
    names = [m for m in names if m != "nlpd" or "nlpd_minus_prior" not in names]
    figure = Figure(figsize=(PAGE, 0.9 + 1.75 * len(names)), layout="constrained")
    axes = figure.subplots(len(names), len(runs), sharey="row", sharex="col", squeeze=False)
    for row, metric in zip(axes, names, strict=True):
        for ax, scores in zip(row, runs.values(), strict=True):
            draw_points(ax, {name: arrays[metric].ravel() for name, arrays in scores.items()})
            scale_axis(ax, metric)
        row[0].set_ylabel(METRICS[metric].label)
        repetitions, n = next(iter(next(iter(runs.values())).values()))[metric].shape
        row[0].text(0.02, 0.97, f"{repetitions} x {n} sims", transform=row[0].transAxes, **NOTE)
    for ax, levels in zip(axes[0], runs, strict=True):
        ax.set_title(levels, fontsize=8)
    for ax, scores in zip(axes[-1], runs.values(), strict=True):
        order = in_order(scores)
        ax.set_xticks(range(len(order)), [STYLES[name].label for name in order], rotation=90)
        ax.tick_params(axis="x", length=0)
    figure.suptitle(f"{experiment}: every test sim of every repetition", fontsize=9)
    return figure


def draw_points(ax: Axes, values: Mapping[str, np.ndarray]) -> None:
    """Draw all values of every method, shape (n,), with nested boxes, median and mean."""
    rng = np.random.default_rng(0)
    for place, name in enumerate(in_order(values)):
        points, style = values[name], STYLES[name]
        jitter = place + JITTER * rng.uniform(-1, 1, len(points))
        for share, width in BOXES:
            low, high = np.quantile(points, [0.5 - share / 2, 0.5 + share / 2])
            ax.fill_between(
                [place - width / 2, place + width / 2], low, high, color=style.colour, alpha=0.3,
                lw=0, zorder=2,
            )  # fmt: skip
            if share == BOXES[0][0]:
                inside = (points >= low) & (points <= high)
        for chosen, alpha in ((inside, 0.25), (~inside, 1.0)):
            ax.plot(
                jitter[chosen], points[chosen], ".", ms=1.2, mew=0, color=style.colour,
                alpha=alpha, rasterized=True, zorder=1,
            )  # fmt: skip
        median = np.median(points)
        ax.plot([place - 0.38, place + 0.38], [median, median], color="white", lw=2, zorder=3)
        ax.plot([place - 0.38, place + 0.38], [median, median], color=style.colour, lw=1, zorder=3)
        ax.plot(place, points.mean(), "D", ms=3, mfc="white", mec=style.colour, mew=0.8, zorder=4)
    ax.set_xlim(-0.6, len(values) - 0.4)


@styled
def plot_task_coverage(runs: Mapping[str, Scores], *, experiment: str) -> Figure:
    """Show how far the coverage of all methods deviates from nominal.

    Parameters
    ----------
    runs
        Numbers of sims, written n_0/n_1/..., to the scores of the run's methods, of which
        `hpd_level`, shape (repetition, test sim), is shown.
    experiment
        Its name.

    Returns
    -------
    Figure
        One panel a run. Grey bands hold 95 % of exact posteriors at the number of all test sims;
        bars are standard errors over repetitions.
    """
    n_columns = min(len(runs), MOST_COLUMNS)
    n_rows = -(-len(runs) // n_columns)
    figure = Figure(figsize=(PAGE, 0.8 + 2.3 * n_rows), layout="constrained")
    axes = figure.subplots(n_rows, n_columns, sharex=True, sharey=True, squeeze=False).ravel()
    for ax, (levels, scores) in zip(axes, runs.items(), strict=False):
        for name in in_order(scores):
            draw_coverage(ax, scores[name]["hpd_level"], STYLES[name])
        total = next(iter(scores.values()))["hpd_level"].size
        low, high = coverage_band(total, LEVELS)
        ax.fill_between(LEVELS, low - LEVELS, high - LEVELS, color="0.8", lw=0, zorder=0)
        for edge in (-PROMISED, PROMISED):
            ax.axhline(edge, color="0.6", lw=0.5, ls=":", zorder=0.5)
        ax.axhline(0, color="0.4", lw=0.6, zorder=0.5)
        ax.set_title(levels, fontsize=8)
        ax.set(xlim=(0, 1), xticks=[0, 0.25, 0.5, 0.75, 1])
        ax.set_xticklabels(["0", "0.25", "0.5", "0.75", "1"])
    # what is overconfident by far must not flatten the others
    for ax in axes:
        bend_axis(ax, 2 * PROMISED)
    for ax in axes[len(runs) :]:
        ax.set_visible(False)
    figure.supxlabel(f"HPD credibility ({experiment})", fontsize=9)
    figure.supylabel("coverage minus credibility", fontsize=9)
    add_legend(figure, [name for scores in runs.values() for name in scores])
    return figure


def draw_coverage(ax: Axes, hpd_level: np.ndarray, style: Style) -> None:
    """Draw the coverage over all test sims, with errors over repetitions at the table's levels."""
    ax.plot(LEVELS, coverage(hpd_level.ravel(), LEVELS) - LEVELS, color=style.colour, ls=style.line)
    marked = np.array(TABLE_LEVELS) / 100
    each = np.stack([coverage(levels, marked) for levels in hpd_level]) - marked
    error = each.std(axis=0, ddof=1) / len(each) ** 0.5
    ax.errorbar(
        marked, each.mean(axis=0), yerr=error, color=style.colour, marker=style.marker, ls="none",
        ms=3, elinewidth=0.8,
    )  # fmt: skip


def in_order(names: Sequence[str] | Mapping[str, object] | pd.Series) -> list[str]:
    """Return the methods among names in the order of all figures, each once."""
    present = set(names)
    return [name for name in STYLES if name in present]


def add_legend(figure: Figure, names: Sequence[str] | pd.Series) -> None:
    """Name the methods above all panels."""
    styles = [STYLES[name] for name in in_order(names)]
    handles = [Line2D([], [], **style.plot) for style in styles]
    labels = [style.label for style in styles]
    figure.legend(handles, labels, loc="outside upper center", ncols=5, handlelength=3)
