"""Jobs for the tests: what Snakemake gives to a script, without Snakemake."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from mflens.files import provenance
from mflens.run.captions import describe_rule

CONFIG = {"seed": 1, "ladder": ["lognormal", "lpt"]}


class Named(dict):
    """Values by name that iterate as Snakemake's do."""

    def __iter__(self) -> Iterator[Any]:
        return iter(self.values())


@contextmanager
def job(results: Path, rule: str = "some_rule", **parts: Any) -> Iterator[None]:
    """Let products be recorded as those of a job; `parts` are input, output, params or config."""
    parts = {"params": Named(code="abc", width=3), "config": CONFIG, **parts}
    parts["config"] = {**parts["config"], "results_dir": str(results)}
    made = SimpleNamespace(**{"input": [], "output": [], "wildcards": Named(), **parts}, rule=rule)
    before = list(provenance.current)
    provenance.start_record(made, describe_rule)
    try:
        yield
    finally:
        provenance.current[:] = before
