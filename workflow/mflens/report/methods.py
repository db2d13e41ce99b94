"""Methods against one another: sharpness against the number of expensive sims and cost."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import (
    LogLocator,
    NullFormatter,
    NullLocator,
    ScalarFormatter,
    StrMethodFormatter,
)
from matplotlib.transforms import Transform

from mflens.files.benchmarks import NONE
from mflens.report.style import METHOD_STYLES, PAGE, Style, styled, tier_styles

CEILING = 1.0  # nats worse than the prior that the frame shows
JITTER = 0.035  # methods stand side by side, in units of ln(n_high)
BAR = 0.24  # inches
TOP_ROW, ROW_STEP = 0.92, 0.075  # where arrows stand, shares of the frame; a row per method


@styled
def plot_methods(methods: pd.DataFrame) -> Figure:
    """Show NLPD minus prior of every method against n_high and against cost.

    Parameters
    ----------
    methods
        Columns `method, n_high, n_test, nlpd_minus_prior, nlpd_minus_prior_error` in nats and
        `cost_core_s` in core-seconds; n_high = 0 where a method uses no expensive sim.

    Returns
    -------
    Figure
        Two panels with the same vertical axis. Values above the frame become arrows with the
        number beside them.
    """
    figure = Figure(figsize=(PAGE, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    error = methods["nlpd_minus_prior_error"]
    low = min(-0.5, float((methods["nlpd_minus_prior"] - error).min()) - 0.15)
    left.set_ylim(low, CEILING)
    names = [name for name in METHOD_STYLES if name in set(methods["method"])]
    above = [
        n for n in names if methods[methods["method"] == n]["nlpd_minus_prior"].max() > CEILING
    ]
    for i, name in enumerate(names):
        rows = methods[methods["method"] == name].sort_values("n_high")
        shift = np.exp(JITTER * (i - (len(names) - 1) / 2))
        height = TOP_ROW - ROW_STEP * above.index(name) if name in above else TOP_ROW
        draw_against_n_high(left, rows, METHOD_STYLES[name], shift, height)
        if name != "prior":
            draw_points(right, rows["cost_core_s"].to_numpy(), rows, METHOD_STYLES[name], height)
    for ax in (left, right):
        mark_prior(ax)
    set_n_high_axis(left, methods["n_high"])
    right.set(xscale="log", xlabel="measured cost of simulations and training (core-seconds)")
    right.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    right.xaxis.set_major_formatter(StrMethodFormatter("{x:,g}"))
    right.xaxis.set_minor_formatter(NullFormatter())
    n_tests = "-".join(str(n) for n in sorted(set(methods["n_test"])))
    left.set_ylabel(f"mean NLPD $-$ prior (nats), {n_tests} test sims")
    handles, labels = left.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=4, handlelength=3)
    return figure


def draw_against_n_high(
    ax: Axes, rows: pd.DataFrame, style: Style, shift: float, height: float
) -> None:
    """Draw a method's points, or a level line if it does not depend on n_high."""
    if (rows["n_high"] > 0).any():
        draw_points(ax, rows["n_high"].to_numpy() * shift, rows, style, height)
        return
    value, error = rows[["nlpd_minus_prior", "nlpd_minus_prior_error"]].iloc[0].astype(float)
    ax.axhspan(value - error, value + error, color=style.colour, alpha=0.15, lw=0)
    ax.axhline(value, color=style.colour, ls=style.line, label=style.label)
    if value > CEILING:
        point_above(ax, 0.06, value, style, height, xycoords=ax.transAxes)


def draw_points(ax: Axes, x: np.ndarray, rows: pd.DataFrame, style: Style, height: float) -> None:
    """Draw points with error bars; those above the frame as arrows with their value."""
    y, error = rows["nlpd_minus_prior"].to_numpy(), rows["nlpd_minus_prior_error"].to_numpy()
    ax.errorbar(x, y, yerr=error, **style.plot, capsize=2, elinewidth=0.8, label=style.label)
    for x_i, y_i in zip(x, y, strict=True):
        if y_i > CEILING:
            point_above(ax, float(x_i), float(y_i), style, height, ax.get_xaxis_transform())


def point_above(
    ax: Axes, x: float, y: float, style: Style, height: float, xycoords: Transform
) -> None:
    """Mark a value above the frame by its marker, an arrow upwards and the number.

    `x` is in the horizontal unit of `xycoords`, `height` is the share of the frame's height.
    """
    ax.plot(x, height, marker=style.marker, color=style.colour, transform=xycoords, lw=0, zorder=5)
    ax.annotate(
        "", (x, height + 0.07), (x, height + 0.01), xycoords=xycoords, textcoords=xycoords,
        arrowprops={"arrowstyle": "-|>", "color": style.colour, "lw": 1},
    )  # fmt: skip
    ax.annotate(
        f"{y:+.1f}", (x, height), (5, 0), xycoords=xycoords, textcoords="offset points",
        color=style.colour, fontsize=8, va="center",
    )  # fmt: skip


def mark_prior(ax: Axes) -> None:
    """Shade what is worse than the prior."""
    ax.axhspan(0, CEILING, color="0.93", lw=0, zorder=0)
    ax.axhline(0, color=METHOD_STYLES["prior"].colour, lw=0.8, zorder=0.5)
    ax.annotate(
        "worse than the prior", (0.98, 0), (0, 2), xycoords=ax.get_yaxis_transform(),
        textcoords="offset points", ha="right", va="bottom", fontsize=8, style="italic",
        color="0.35",
    )  # fmt: skip


def set_n_high_axis(ax: Axes, n_high: pd.Series) -> None:
    """Tick the logarithmic axis at the values in use."""
    used = sorted(set(n_high) - {0}) or [1]
    ax.set_xscale("log")
    ax.set_xlim(used[0] / 1.6, used[-1] * 1.6)
    ax.set_xticks(used)
    ax.xaxis.set_major_formatter(ScalarFormatter())
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_xlabel(r"expensive simulations for training, $n_{\rm high}$")


@styled
def plot_cost(cost: pd.DataFrame, *, ladder: Sequence[str]) -> Figure:
    """Show where the time goes.

    Parameters
    ----------
    cost
        Columns `rule, tier, jobs, core_s, max_rss_mb`; tier `-` where there is none.
    ladder
        Names of the tiers, for their colours.

    Returns
    -------
    Figure
        One bar per rule and tier, longest on top, with core-seconds and share of the total.
    """
    rows = cost.sort_values("core_s", ascending=True, kind="stable")
    total = float(rows["core_s"].sum())
    styles = tier_styles(ladder)
    figure = Figure(figsize=(PAGE, 0.8 + BAR * len(rows)), layout="constrained")
    ax = figure.subplots()
    for place, row in enumerate(rows.itertuples()):
        style = styles.get(str(row.tier))
        ax.barh(place, row.core_s, color=style.colour if style else "0.55", height=0.72)
        parts = [f"{row.core_s:.3g} core-s", f"{100 * row.core_s / total:.1f} %"]
        parts.append("1 job" if row.jobs == 1 else f"{row.jobs} jobs")
        if np.isfinite(row.max_rss_mb):  # a job may end before its memory is sampled
            parts.append(f"{row.max_rss_mb / 1024:.1f} GiB")
        ax.annotate(
            ", ".join(parts), (row.core_s, place), (4, 0),
            textcoords="offset points", va="center", fontsize=8,
        )  # fmt: skip
    names = [
        row.rule if row.tier == NONE else f"{row.rule}, {styles[str(row.tier)].label}"
        for row in rows.itertuples()
    ]
    ax.set_yticks(range(len(rows)), names)
    ax.tick_params(axis="y", length=0)
    ax.set_xlim(0, 1.55 * float(rows["core_s"].max()))
    ax.set_ylim(-0.6, len(rows) - 0.4)
    ax.set_xlabel(f"core-seconds (total {total:,.0f} = {total / 3600:.2f} core-hours)")
    ax.spines[["top", "right"]].set_visible(False)
    ax.tick_params(top=False, right=False)
    return figure
