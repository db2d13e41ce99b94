"""The config against its schema, with the errors told in sentences."""

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from copy import deepcopy
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError
from jsonschema.validators import extend

from mflens.errors import ConfigError

SCHEMA = Path(__file__).parents[2] / "schemas" / "config.schema.yaml"

SMALLEST, LARGEST = 1e-20, 1e20  # of a number but 0: powers of others overflow

# a number by YAML 1.2; PyYAML reads 1.1, where 1e-3 and 1.0e8 are text for want of a dot or a sign
NUMBER = re.compile(r"[-+]?(\.\d+|\d+(\.\d*)?)([eE][-+]?\d+)?", re.ASCII)

# an unknown key comes first: a misspelt one is the reason why the right one is missing
ORDER = ("additionalProperties", "required", "type")


def check_schema(config: Mapping[str, Any]) -> None:
    """Compare the config with the schema.

    Raises
    ------
    ConfigError
        With one sentence on the most telling difference.
    """
    errors = list(_validator().iter_errors(config))
    if errors:
        raise ConfigError(_sentence(min(errors, key=_rank)))
    for path, value in _leaves(config):
        if isinstance(value, float) and not math.isfinite(value):
            raise ConfigError(f"{path}: {value} is not a finite number; give a finite one.")
        if isinstance(value, int | float) and value and not SMALLEST <= abs(value) <= LARGEST:
            raise ConfigError(
                f"{path}: {_show(value)} is beyond all reason; give 0 or a number whose size is "
                f"from {SMALLEST:g} to {LARGEST:g}."
            )


def with_numbers(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a config in which text that says a number is one, where a number is wanted.

    That is `1e-3` and `1.0e8`, which YAML 1.1 takes for text, and what stands in quotes.
    """
    found = deepcopy(dict(config))
    while wrong := dict(_numbers_as_text(_validator().iter_errors(found))):
        for path, value in wrong.items():
            node: Any = found
            for part in path[:-1]:
                node = node[part]
            node[path[-1]] = value
    return found


def _numbers_as_text(errors: Iterable[ValidationError]) -> Iterator[tuple[tuple, int | float]]:
    """Yield path and value of every text that is refused and would not be as the number it says."""
    for error in errors:
        # of a node that may be one of several things, the errors as each of them
        yield from _numbers_as_text(error.context or [])
        value, wanted = _number(error.instance), error.validator_value
        if error.validator == "type" and value is not None and _is_one(value, wanted):
            yield tuple(error.absolute_path), value


def _is_one(value: Any, wanted: str | list[str]) -> bool:
    """Say whether a value is of a type of JSON schema, or of one of several."""
    types = [wanted] if isinstance(wanted, str) else wanted
    return any(_validator().is_type(value, name) for name in types)


def _number(text: Any) -> int | float | None:
    """Return the number that a text says, None if it says none that a float can hold."""
    if not isinstance(text, str) or not NUMBER.fullmatch(text):
        return None
    if text.lstrip("+-").isdecimal():
        return int(text)
    return float(text) if math.isfinite(float(text)) else None


def sections() -> list[str]:
    """Return the keys at the top of a config."""
    return list(_validator().schema["properties"])


@cache
def _validator() -> Draft202012Validator:
    schema = yaml.safe_load(SCHEMA.read_text())
    # JSON counts 64.0 as an integer, `range` does not
    types = Draft202012Validator.TYPE_CHECKER.redefine("integer", lambda _, value: _is_int(value))
    return extend(Draft202012Validator, type_checker=types)(schema)


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, entry in value.items():
            yield from _leaves(entry, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list):
        for i, entry in enumerate(value):
            yield from _leaves(entry, f"{path}[{i}]")
    else:
        yield path, value


def _rank(error: ValidationError) -> tuple[int, str]:
    kind = str(error.validator)
    return ORDER.index(kind) if kind in ORDER else len(ORDER), _path(error)


def _path(error: ValidationError, *more: Any) -> str:
    text = ""
    for part in (*error.absolute_path, *more):
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.lstrip(".") or "the config"


def _sentence(error: ValidationError) -> str:
    """Tell a validation error as key, value and remedy."""
    kind = error.validator
    if kind == "additionalProperties":
        return _unknown_key(error)
    if kind == "required":
        key = next(key for key in error.validator_value if key not in error.instance)
        return f"{_path(error, key)}: this key is missing; add it{_meaning(error, key)}."
    value = _show(error.instance)
    if kind in ("enum", "const"):
        options = error.validator_value if kind == "enum" else [error.validator_value]
        return f"{_path(error)}: {value} is unknown; {_did_you_mean(error.instance, options)}"
    return f"{_path(error)}: {value} {_problem(error)}; change it{_meaning(error)}."


def _unknown_key(error: ValidationError) -> str:
    known = list(error.schema["properties"])
    key = next(key for key in error.instance if key not in known)
    value = _show(error.instance[key])
    return f"{_path(error, str(key))}: unknown key (value {value}); {_did_you_mean(key, known)}"


def _did_you_mean(word: Any, known: list[Any]) -> str:
    names = [str(entry) for entry in known]
    close = get_close_matches(str(word), names, n=1)
    return f"did you mean '{close[0]}'?" if close else f"choose from {', '.join(names)}."


def _problem(error: ValidationError) -> str:
    limit: Any = error.validator_value
    if error.validator == "anyOf":
        # a value or a word that stands for one, such as auto
        words = [str(part["const"]) for part in limit if "const" in part]
        values = [part for part in error.context if part.validator != "const"]
        if words and len(values) == 1:
            return f"{_problem(values[0])} and is not '{words[0]}'"
        return f"is none of {_options(limit)}"
    if error.validator == "type":
        names = {"object": "mapping", "array": "list", "string": "text"}
        wanted: list[str] = limit if isinstance(limit, list) else [limit]
        text = f"is not of type {' or '.join(names.get(name, name) for name in wanted)}"
        return text + _yaml_hint(error.instance, wanted)
    return {
        "minimum": f"is below the minimum {limit}",
        "maximum": f"is above the maximum {limit}",
        "exclusiveMinimum": f"is not above {limit}",
        "minItems": f"has fewer than {limit} entries",
        "minLength": "is empty",
        "uniqueItems": "holds an entry twice",
    }.get(str(error.validator), f"breaks the rule {error.validator}: {limit}")


def _options(choices: Any) -> str:
    """Tell the choices of `anyOf`: words as they are, all else by its description."""
    if not isinstance(choices, list):
        return ""
    told = (option.get("const", option.get("description")) for option in choices)
    return " or ".join(f"'{text}'" for text in told)


def _yaml_hint(value: Any, wanted: list[str]) -> str:
    """Say how to write the number that a text says."""
    number = _number(value)
    if number is None or not {"number", "integer"} & set(wanted):
        return ""
    if "number" not in wanted and float(number).is_integer():
        number = int(number)
    return f" (YAML reads it as text: write {yaml.safe_dump(number).split()[0]})"


def _meaning(error: ValidationError, *more: str) -> str:
    """Return the schema's description of the key at fault, in brackets."""
    node: Any = _validator().schema
    for part in (*error.absolute_path, *more):
        node = _child(node, part) or _child(_referenced(node), part)
    return f" [{node['description']}]" if "description" in node else ""


def _referenced(node: Mapping[str, Any]) -> Any:
    name = node.get("$ref", "").rpartition("/")[2]
    return _validator().schema["$defs"].get(name, {})


def _child(node: Mapping[str, Any], part: Any) -> Any:
    if isinstance(part, int):
        return node.get("items", {})
    extra = node.get("additionalProperties") or {}
    return node.get("properties", {}).get(part, extra)


def _show(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
