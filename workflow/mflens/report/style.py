"""One look for all figures: widths, type, and one colour, marker and line per method and tier."""

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Any, ParamSpec

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.typing import LineStyleType

from mflens.files.io import PathLike, atomic
from mflens.files.provenance import provenance

COLUMN = 3.35  # inches, one column of a journal
PAGE = 7.0  # inches, both columns
DPI = 300
BEHIND_TEXT = {"fc": "white", "ec": "none", "alpha": 0.75, "pad": 0.8}  # keeps curves off it

RC: dict[str, Any] = {
    "font.family": "STIXGeneral",
    "mathtext.fontset": "stix",
    "font.size": 9,
    "axes.labelsize": 9,
    "axes.titlesize": 9,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 8,
    "axes.linewidth": 0.6,
    "lines.linewidth": 1.2,
    "lines.markersize": 4.5,
    "xtick.direction": "in",
    "ytick.direction": "in",
    "xtick.top": True,
    "ytick.right": True,
    "legend.frameon": False,
    "pdf.fonttype": 42,  # text stays text when a journal edits the figure
    "svg.hashsalt": "mflens",
}


@dataclass(frozen=True)
class Style:
    """How something is drawn in every figure.

    Attributes
    ----------
    label
        Its name in print.
    colour, marker, line
        As matplotlib takes them.
    """

    label: str
    colour: str
    marker: str
    line: LineStyleType

    @property
    def plot(self) -> dict[str, Any]:
        """Keywords of `Axes.plot` and `Axes.errorbar`."""
        return {"color": self.colour, "marker": self.marker, "linestyle": self.line}


# Okabe and Ito's palette, told apart with all common kinds of colour vision
METHOD_STYLES = {
    "prior": Style("prior", "#7F7F7F", "_", ":"),
    "low_only": Style("low only", "#E69F00", "v", (0, (5, 1.5))),
    "linear_high": Style("linear, high only", "#56B4E9", "s", (0, (3, 1.5))),
    "linear": Style("linear", "#0072B2", "D", "-."),
    "high_only": Style("high only", "#CC79A7", "o", (0, (4, 1, 1, 1, 1, 1))),
    "transfer": Style("transfer", "#009E73", "^", (0, (6, 1.5, 1.5, 1.5))),
    "mlmc": Style("MLMC", "#D55E00", "X", (0, (1.5, 1))),
    "paired": Style("paired", "#000000", "P", "-"),
}
TIER_STYLES = {
    "lognormal": Style("lognormal", "#0072B2", "o", "-"),
    "lpt": Style("2LPT", "#009E73", "^", "--"),
    "particle_mesh": Style("N-body", "#D55E00", "s", "-."),
    "baryons": Style("N-body with feedback", "#000000", "P", (0, (3, 1, 1, 1))),
    "shells_on_disk": Style("shells on disk", "#CC79A7", "D", ":"),
}
OTHER_TIERS = ("#E69F00", "#56B4E9", "#7F7F7F")  # for tiers of the user's own


def tier_styles(tiers: Sequence[str]) -> dict[str, Style]:
    """Return the style of every tier; tiers that a user wrote get spare colours in order."""
    own = [tier for tier in tiers if tier not in TIER_STYLES]
    spare = {
        tier: Style(tier.replace("_", " "), OTHER_TIERS[i % len(OTHER_TIERS)], "X", "-")
        for i, tier in enumerate(own)
    }
    return {tier: spare.get(tier) or TIER_STYLES[tier] for tier in tiers}


P = ParamSpec("P")


def styled(function: Callable[P, Figure]) -> Callable[P, Figure]:
    """Draw a figure in the house style, whatever the user's own matplotlib settings."""

    @wraps(function)
    def draw(*args: P.args, **kwargs: P.kwargs) -> Figure:
        # sans the user's settings a figure has the same bytes everywhere
        with mpl.rc_context():
            mpl.rcdefaults()
            mpl.rcParams.update(RC)
            return function(*args, **kwargs)

    return draw


def save_figure(figure: Figure, pdf: PathLike, png: PathLike) -> None:
    """Write a figure as PDF and PNG, atomically and with the same bytes for the same figure.

    Both carry their provenance: PDF as keywords, PNG as comment.
    """
    origin = json.dumps(provenance())
    # embedding a font writes dozens of lines at this level
    logging.getLogger("fontTools").setLevel(logging.WARNING)
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(RC)
        with atomic(pdf) as temporary:
            about: dict[str, Any] = {"CreationDate": None, "Creator": "mflens", "Keywords": origin}
            figure.savefig(temporary, format="pdf", dpi=DPI, metadata=about)
        with atomic(png) as temporary:
            about = {"Software": "mflens", "Comment": origin}
            figure.savefig(temporary, format="png", dpi=DPI, metadata=about)
