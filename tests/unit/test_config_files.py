"""What users write in config files and behind `--config`, and what of it would be lost."""

import json

import pytest
import yaml
from snakemake.cli import parse_args, parse_config
from snakemake.utils import update_config

from configs import DEFAULTS, merge, read_config
from mflens.errors import ConfigError, DataError
from mflens.run import config_files as c
from mflens.run.check import check_config
from mflens.run.schema import with_numbers

TWICE = [
    # text, key, lines
    ("a:\n  x: 1\nb: 2\na:\n  y: 3\n", "a", (1, 4)),
    ("a:\n  b:\n    c: 1\n    d: 2\n    c: 1\n", "a.b.c", (3, 5)),
    ("a: {b: [{c: 1}, {c: 1, c: 2}]}\n", "a.b[1].c", (1, 1)),
    ('a: 1\n"a": 2\n', "a", (1, 2)),
    ('{"a": {"b": 1,\n "b": 2}}', "a.b", (1, 2)),
    ("x: &x {a: 1}\ny:\n  <<: *x\n  z: 1\n  z: 2\n", "y.z", (4, 5)),
]


@pytest.mark.parametrize(("text", "key", "lines"), TWICE, ids=[case[1] for case in TWICE])
def test_a_key_given_twice_is_refused(tmp_path, text, key, lines):
    path = tmp_path / "overlay.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        c.check_given([path], [], [])
    for words in (str(path), f"the key {key} is", f"lines {lines[0]} and {lines[1]}"):
        assert words in str(caught.value)


def test_a_key_given_twice_in_json_that_is_no_yaml(tmp_path):
    path = tmp_path / "overlay.json"
    path.write_text('{"name": "\\ud83d\\ude00",\n\t"a": {"b": 1,\n\t\t"b": 2}}')
    assert json.loads(path.read_text())["a"] == {"b": 2}, "Snakemake reads it"
    with pytest.raises(yaml.YAMLError):
        yaml.compose(path.read_text(), c.LOADER)
    with pytest.raises(ConfigError, match="the key b is given twice, of which"):
        c.check_given([path], [], [])


@pytest.mark.parametrize(
    "text",
    [
        "a: {x: 1}\nb: {x: 1}\n",
        "a: [{x: 1}, {x: 2}]\n",
        "1: one\n'1': text\n",
        # an overwritten key of a merged mapping is what << is for, and two << both count
        "x: &x {a: 1}\nw: &w {b: 1}\ny:\n  <<: *x\n  <<: *w\n  a: 2\n",
        "x: &x {a: 1}\ny: [*x, *x]\n",
        "",
    ],
)
def test_keys_that_are_none_twice(text):
    yaml.safe_load(text)
    assert list(c.repeated_keys(text)) == []


def test_the_projects_own_configs_hold_no_key_twice(root):
    c.check_given(sorted((root / "config").glob("*.yaml")), [], [])
    assert tuple(DEFAULTS) == c.DEFAULTS


ARGUMENTS = [
    ("--configfile a.yaml --configfile b.yaml", "--configfile"),
    ("--configfile=a.yaml -n --configfiles b.yaml", "--configfile"),
    ("--config seed=1 -n --config seed=2", "--config"),
    ("-C seed=1 --config results_dir=x", "--config"),
    ("-C seed=1 -nC results_dir=x", "--config"),
]


@pytest.mark.parametrize(("arguments", "option"), ARGUMENTS)
def test_an_option_given_twice_is_refused(arguments, option):
    # Snakemake itself keeps the last
    _, parsed = parse_args(["-c1", *arguments.split()])
    kept = parsed.configfile if option == "--configfile" else parsed.config
    assert len(kept) == 1
    with pytest.raises(ConfigError, match=rf"^{option} is given more than once"):
        c.check_given([], [], arguments.split())


@pytest.mark.parametrize(
    "arguments",
    [
        "-c2 --configfile a.yaml b.yaml --config seed=1 results_dir=x",
        "-n -sCases/Snakefile verify --config seed=1",
        "--configfile a.yaml -- --configfile",
    ],
)
def test_options_given_once(arguments):
    c.check_given([], [], arguments.split())


def snakemake_config(*entries):
    """Return what Snakemake makes of the smoke config and entries of --config."""
    config = read_config("smoke")
    update_config(config, parse_config(entries))
    return config


def test_nested_values_of_the_command_line_keep_their_types():
    entries = (
        "simulate={nside: 32, ell_max: 64, mesh: {projection_nside: 64, box_mpc_h: 1.5e+3}}",
        "theory={parameters: {sigma_8: null, S_8: {prior: uniform, min: 0.6, max: 1}}}",
        "infer={n_high: [8], methods: [prior, paired]}",
        "compress={network: {non_gaussian: true}, pretraining: {learning_rate: 1e-3}}",
        "seed=7",
        "results_dir=elsewhere",
    )
    given = snakemake_config(*entries)
    assert given["simulate"]["nside"] == "32", "Snakemake reads text"
    found = with_numbers(c.with_types(given, entries))
    check_config(found)
    assert found == merge(
        read_config("smoke"),
        {
            "simulate": {
                "nside": 32,
                "ell_max": 64,
                "mesh": {"projection_nside": 64, "box_mpc_h": 1500.0},
            },
            "theory": {
                "parameters": {"sigma_8": None, "S_8": {"prior": "uniform", "min": 0.6, "max": 1}}
            },
            "infer": {"n_high": [8], "methods": ["prior", "paired"]},
            "compress": {
                "network": {"non_gaussian": True},
                "pretraining": {"learning_rate": 0.001},
            },
            "seed": 7,
            "results_dir": "elsewhere",
        },
    )
    assert found["theory"]["parameters"]["sigma_8"] is None


def test_options_of_a_users_tier_keep_their_types():
    """No schema knows them."""
    entries = ("simulate={tiers: {mine: {class: a.B, n: 3, deep: {x: 1.5}, name: abc}}}",)
    found = c.with_types(snakemake_config(*entries), entries)
    assert found["simulate"]["tiers"]["mine"] == {
        **{"class": "a.B", "n": 3},
        **{"deep": {"x": 1.5}, "name": "abc"},
    }


def test_types_change_nothing_but_the_command_lines_own_values():
    config = {"simulate": {"nside": 16, "name": "3"}, "other": "32"}
    entries = ("simulate={nside: 32}", "absent={x: 1}", "other=32", "odd={")
    assert c.with_types(config, entries) == config


def test_a_nested_key_given_twice_on_the_command_line():
    with pytest.raises(ConfigError, match="--config simulate: the key nside is given twice"):
        c.check_given([], ["seed=1", "simulate={nside: 32, nside: 64}"], [])


class TestModule:
    """The config that another workflow hands to its module."""

    def test_it_lies_over_the_defaults(self):
        overlay = {"simulate": {"nside": 32}, "infer": {"n_high": [8]}}
        found, aside = c.for_module(overlay)
        assert found == merge(read_config(), overlay)
        assert aside == []
        found["simulate"]["survey"]["mask"] = "full"
        assert overlay == {"simulate": {"nside": 32}, "infer": {"n_high": [8]}}
        assert c.for_module(found)[0] == found, "a whole config stays as it is"

    def test_its_keys_have_the_order_of_a_run(self):
        """As Snakemake merges: the overlay, then the defaults of the Snakefile, and it again."""
        overlay = {"theory": {"parameters": {"n_s": {"prior": "normal"}, "h": 0.7}}, "seed": 2}
        snakemakes = {}
        for part in (overlay, read_config(), overlay):
            update_config(snakemakes, part)
        assert json.dumps(c.for_module(overlay)[0]) == json.dumps(snakemakes)

    def test_keys_of_the_other_workflow_are_left_aside(self):
        found, aside = c.for_module({"samples": "units.tsv", "mflens": "../mflens", "seed": 3})
        assert aside == ["samples", "mflens"]
        assert found == read_config() | {"seed": 3}

    def test_misspelt_keys_are_not(self):
        found, aside = c.for_module({"simulat": {"nside": 32}})
        assert aside == []
        with pytest.raises(ConfigError, match="simulat: unknown key .*'simulate'"):
            check_config(found)

    def test_another_clone_and_a_prefix_are_refused(self, tmp_path, root):
        c.check_module(str(root), "results/x")
        with pytest.raises(ConfigError, match="is imported already"):
            c.check_module(str(tmp_path), "results/x")
        with pytest.raises(ConfigError, match="moves results/x to a/results/x.*results_dir"):
            c.check_module(str(root), "a/results/x")


def test_files_that_are_no_config(tmp_path):
    for content in ("- 1\n", "[", "\0"):
        (tmp_path / "x.yaml").write_text(content)
        with pytest.raises(DataError, match=r"x\.yaml (cannot be read|holds no config)"):
            c.read_files([tmp_path / "x.yaml"])
