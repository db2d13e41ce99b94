"""What the config leaves open (`auto`, null), put in once, when the rules are read."""

from typing import Any

from mflens.parameters import given
from mflens.problems import AUTO
from mflens.run.needs import chunk_sizes
from mflens.simulate.survey.depth import shells_needed, shifted
from mflens.simulate.survey.redshifts import read_sources


def resolve(config: dict[str, Any]) -> None:
    """Put numbers in the place of `auto`, and drop parameters that an overlay has taken out.

    Parameters
    ----------
    config
        The whole config, checked; it is changed in place.
    """
    theory, simulate = config["theory"], config["simulate"]
    theory["parameters"] = given(theory["parameters"])
    if theory["shells"]["n_shells"] == AUTO:
        sources = read_sources(simulate["survey"]["redshifts"])
        deepest = shifted(sources.deepest, sources.mean, simulate["survey"]["nuisances"])
        theory["shells"]["n_shells"] = shells_needed(deepest, theory)
    # depends on the number of shells
    simulate["chunk_size"] = chunk_sizes(config)
