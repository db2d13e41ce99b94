"""What users write in config files and behind `--config`: read as it stands, and none of it lost.

YAML's usual readers, Snakemake's among them, take the last of two equal keys in silence; so does
the command line with options given twice.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml

from mflens.errors import ConfigError, DataError
from mflens.problems import line
from mflens.run.schema import sections

ROOT = Path(__file__).parents[3]
# what the Snakefile reads, in this order
DEFAULTS = ("config", "g_and_k", "ornstein_uhlenbeck", "toggle_switch", "camels")
# written in C where PyYAML has it
LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
MERGE = "tag:yaml.org,2002:merge"
# options that take several values and of which argparse keeps the last, and how they are written:
# in full, as far as they are unique, with = or, the short one, with the value at once
TWICE = {
    "--configfile": (re.compile(r"--configf\w*(=.*)?"), "give all files behind one, in order"),
    "--config": (re.compile(r"--config(=.*)?|-[nFfkp]*C.*"), "give all values behind one"),
}


def check_given(files: Sequence[Path], entries: Sequence[str], arguments: Sequence[str]) -> None:
    """Refuse config files and a command line of which Snakemake would lose a part.

    Parameters
    ----------
    files
        All config files.
    entries
        The entries `key=value` behind `--config`.
    arguments
        The command line, without the program.

    Raises
    ------
    ConfigError
        With what is given twice.
    """
    for problem in _options_given_twice(arguments):
        raise ConfigError(problem)
    for file in files:
        for key, first, again in repeated_keys(_text_of(file)):
            where = f" (lines {first} and {again})" if first else ""
            raise ConfigError(
                f"{file}: the key {key} is given twice{where}, of which the last alone would "
                "count; merge the two or remove one."
            )
    for key, text in map(_split, entries):
        for inner, *_ in repeated_keys(text):
            raise ConfigError(
                f"--config {key}: the key {inner} is given twice, of which the last alone would "
                "count; remove one."
            )


def _text_of(file: Path) -> str:
    """Return the text of a file that Snakemake has read, nothing of a pipe, which is empty now."""
    try:
        return Path(file).read_text(encoding="utf-8")
    except OSError:
        return ""


def _options_given_twice(arguments: Sequence[str]) -> Iterator[str]:
    options = list(arguments)
    options = options[: options.index("--")] if "--" in options else options
    for option, (spelling, remedy) in TWICE.items():
        if sum(bool(spelling.fullmatch(word)) for word in options) > 1:
            yield (
                f"{option} is given more than once, of which the last alone would count; {remedy}: "
                f"{option} ... ..."
            )


def repeated_keys(text: str) -> Iterator[tuple[str, int, int]]:
    """Yield every key that a mapping of a YAML or JSON text holds twice, with its two lines.

    Lines are zero in JSON that is no YAML, as with tabs or emojis. What is neither yields nothing.
    """
    try:
        tree = yaml.compose(text, Loader=LOADER)
    except yaml.YAMLError:
        repeats: list[str] = []
        try:
            json.loads(text, object_pairs_hook=lambda pairs: repeats.extend(_repeats(pairs)))
        except ValueError:
            return
        yield from ((key, 0, 0) for key in repeats)
        return
    yield from _repeated_in(tree, "", set())


def _repeats(pairs: Sequence[tuple[str, Any]]) -> list[str]:
    names = [key for key, _ in pairs]
    return [key for i, key in enumerate(names) if key in names[:i]]


def _repeated_in(node: Any, path: str, seen: set[int]) -> Iterator[tuple[str, int, int]]:
    """Walk a tree of YAML nodes, those that an alias repeats once."""
    if id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, yaml.SequenceNode):
        for i, entry in enumerate(node.value):
            yield from _repeated_in(entry, f"{path}[{i}]", seen)
    elif isinstance(node, yaml.MappingNode):
        lines: dict[tuple[str, str], int] = {}
        for key, value in node.value:
            here = f"{path}.{key.value}".lstrip(".")
            identity, at = (key.tag, str(key.value)), key.start_mark.line + 1
            # << takes in another mapping each time
            if identity in lines and key.tag != MERGE:
                yield here, lines[identity], at
            lines[identity] = at
            yield from _repeated_in(value, here, seen)


def _split(entry: str) -> tuple[str, str]:
    key, _, text = entry.partition("=")
    return key, text


def with_types(config: Mapping[str, Any], entries: Sequence[str]) -> dict[str, Any]:
    """Return a config in which what Snakemake reads as text of nested `--config` is YAML again.

    Snakemake gives numbers their type at the top level alone: `--config simulate='{nside: 32}'`
    says text.

    Parameters
    ----------
    config
        The config with what these entries say.
    entries
        The entries `key=value` behind `--config`.
    """
    typed = deepcopy(dict(config))
    for key, text in map(_split, entries):
        try:
            as_text, read = yaml.BaseLoader(text).get_single_data(), yaml.safe_load(text)
        except yaml.YAMLError:
            continue  # Snakemake takes it as text
        if isinstance(read, dict | list) and key in typed:
            typed[key] = _retyped(typed[key], as_text, read)
    return typed


def _retyped(value: Any, as_text: Any, read: Any) -> Any:
    """Replace what is the text of a value that was read otherwise."""
    if isinstance(value, dict) and isinstance(as_text, dict) and isinstance(read, dict):
        both = as_text.keys() & read.keys()
        return {k: _retyped(v, as_text[k], read[k]) if k in both else v for k, v in value.items()}
    return deepcopy(read) if value == as_text else value


def check_module(root: str, moved: str) -> None:
    """Refuse what cannot work where another workflow uses this one as a module.

    Parameters
    ----------
    root
        Folder of the Snakefile.
    moved
        What the module's `prefix` or `replace_prefix` makes of the path `results/x`.

    Raises
    ------
    ConfigError
        If another clone's package is imported, or products would stand outside the results.
    """
    if not ROOT.samefile(root):
        raise ConfigError(
            f"mflens of {ROOT} is imported already and stands in the way of that of {root}; use "
            "one clone for all modules, and import nothing of mflens before them."
        )
    if moved != "results/x":
        raise ConfigError(
            f"module: its prefix moves results/x to {moved}, but not the records of the products; "
            "leave prefix out and name the folder by results_dir in the module's config."
        )


def for_module(config: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return the config of a workflow that uses this one as a module, over the defaults.

    Snakemake reads no config file of a module that is given a config.

    Returns
    -------
    tuple
        The whole config, and the keys of the other workflow's own, which are left aside: those
        that are not close to any of mflens.
    """
    known = sections()
    own = [key for key in config if key not in known and not get_close_matches(str(key), known)]
    given = {key: value for key, value in config.items() if key not in own}
    return over_defaults(given), own


def over_defaults(overlay: Mapping[str, Any]) -> dict[str, Any]:
    """Return an overlay over the defaults, its keys first, as Snakemake has them.

    The order of parameters is that of their columns in all products.
    """
    defaults = read_files([ROOT / f"config/{name}.yaml" for name in DEFAULTS])
    return merge(merge(overlay, defaults), overlay)


def read_files(paths: Sequence[Path]) -> dict[str, Any]:
    """Return config files merged, the last on top.

    Raises
    ------
    DataError
        If a file cannot be read or is no config.
    ConfigError
        If it holds a key twice.
    """
    config: dict[str, Any] = {}
    for path in paths:
        try:
            read = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, yaml.YAMLError) as error:
            raise DataError(f"{path} cannot be read ({line(error)}); name another file.") from error
        if not isinstance(read, dict):
            raise DataError(f"{path} holds no config; name another file.")
        check_given([path], [], [])
        config = merge(config, read)
    return config


def merge(base: Mapping[str, Any], overlay: Mapping[str, Any]) -> dict[str, Any]:
    """Merge an overlay as Snakemake does: mappings deeply, everything else replaced."""
    merged = deepcopy(dict(base))
    for key, value in overlay.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = merge(merged[key], value) if both else deepcopy(value)
    return merged
