"""Methods against one another: sharpness against the number of expensive sims and cost."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator, ScalarFormatter

from mflens.cost import NONE
from mflens.report.style import METHOD_STYLES, PAGE, Style, styled, tier_styles

CEILING = 1.0  # nats worse than the prior that the frame shows
JITTER = 0.035  # methods stand side by side, in units of ln(n_high)
BAR = 0.24  # inches


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
    for i, name in enumerate(names):
        rows = methods[methods["method"] == name].sort_values("n_high")
        shift = np.exp(JITTER * (i - (len(names) - 1) / 2))
        draw_against_n_high(left, rows, METHOD_STYLES[name], shift)
        if name != "prior":
            draw_points(right, rows["cost_core_s"].to_numpy(), rows, METHOD_STYLES[name])
    for ax in (left, right):
        mark_prior(ax)
    set_n_high_axis(left, methods["n_high"])
    right.set(xscale="log", xlabel="measured cost of simulations and training (core-seconds)")
    n_tests = "-".join(str(n) for n in sorted(set(methods["n_test"])))
    left.set_ylabel(f"mean NLPD $-$ prior (nats), {n_tests} test sims")
    handles, labels = left.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=4, handlelength=3)
    return figure


def draw_against_n_high(ax: Axes, rows: pd.DataFrame, style: Style, shift: float) -> None:
    """Draw a method's points, or a level line if it does not depend on n_high."""
    if (rows["n_high"] == 0).all():
        value = float(rows["nlpd_minus_prior"].iloc[0])
        if value <= CEILING:
            error = float(rows["nlpd_minus_prior_error"].iloc[0])
            ax.axhspan(value - error, value + error, color=style.colour, alpha=0.15, lw=0)
        ax.axhline(value, color=style.colour, ls=style.line, label=style.label)
        if value > CEILING:
            point_above(ax, 0.06, value, style, transform_x=True)
    else:
        draw_points(ax, rows["n_high"].to_numpy() * shift, rows, style)


def draw_points(ax: Axes, x: np.ndarray, rows: pd.DataFrame, style: Style) -> None:
    """Draw points with error bars; those above the frame as arrows with their value."""
    y, error = rows["nlpd_minus_prior"].to_numpy(), rows["nlpd_minus_prior_error"].to_numpy()
    ax.errorbar(x, y, yerr=error, **style.plot, capsize=2, elinewidth=0.8, label=style.label)
    for x_i, y_i in zip(x, y, strict=True):
        if y_i > CEILING:
            point_above(ax, float(x_i), float(y_i), style)


def point_above(ax: Axes, x: float, y: float, style: Style, *, transform_x: bool = False) -> None:
    """Mark a value above the frame by an arrow at the frame's top and the number."""
    where = ax.transAxes if transform_x else ax.get_xaxis_transform()
    ax.plot(x, 0.93, marker=style.marker, color=style.colour, transform=where, lw=0, zorder=5)
    ax.annotate(
        "", (x, 1.0), (x, 0.94), xycoords=where, textcoords=where,
        arrowprops={"arrowstyle": "-|>", "color": style.colour, "lw": 1},
    )  # fmt: skip
    ax.annotate(
        f"{y:+.1f}", (x, 0.93), (5, 0), xycoords=where, textcoords="offset points",
        color=style.colour, fontsize=8, va="center",
    )  # fmt: skip


def mark_prior(ax: Axes) -> None:
    """Shade what is worse than the prior."""
    ax.axhspan(0, CEILING, color="0.93", lw=0, zorder=0)
    ax.axhline(0, color=METHOD_STYLES["prior"].colour, lw=0.8, zorder=0.5)
    ax.text(
        0.98, 0.06, "worse than the prior", transform=ax.get_yaxis_transform(), ha="right",
        va="center", fontsize=8, style="italic", color="0.35",
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
        jobs = "1 job" if row.jobs == 1 else f"{row.jobs} jobs"
        share = f"{row.core_s:.3g} core-s, {100 * row.core_s / total:.1f} %, {jobs}"
        ax.annotate(
            f"{share}, {row.max_rss_mb / 1024:.1f} GiB", (row.core_s, place), (4, 0),
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
