"""Configs for the tests, read and merged as Snakemake does."""

from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import yaml

from mflens.run.resolve import resolve

ROOT = Path(__file__).parents[1]
# what the Snakefile reads; all other files of `config/` are overlays
TASKS = ["g_and_k", "ornstein_uhlenbeck", "toggle_switch", "camels"]
DEFAULTS = ["config", *TASKS]


def merge(base: dict[str, Any], overlay: Mapping[str, Any]) -> dict[str, Any]:
    """Merge an overlay as Snakemake does: mappings deeply, everything else replaced."""
    merged = deepcopy(base)
    for key, value in overlay.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), dict)
        merged[key] = merge(merged[key], value) if both else deepcopy(value)
    return merged


def read_config(*overlays: str) -> dict[str, Any]:
    """Return the default config under these overlays of `config/`."""
    config: dict[str, Any] = {}
    for name in [*DEFAULTS, *overlays]:
        config = merge(config, yaml.safe_load((ROOT / f"config/{name}.yaml").read_text()))
    return config


def resolved_config(*overlays: str) -> dict[str, Any]:
    """Return the same as the rules use it: what is `auto` in numbers."""
    config = read_config(*overlays)
    resolve(config)
    return config
