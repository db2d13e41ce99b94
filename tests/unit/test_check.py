"""Every config that cannot work is refused in one sentence that names key, value and remedy."""

import math
import subprocess
import sys
from pathlib import Path

import healpy
import numpy as np
import pytest
import yaml
from astropy.cosmology import Flatw0waCDM

from configs import ROOT, merge, read_config
from mflens.errors import ConfigError
from mflens.run.check import check_config
from mflens.run.plan import compressor_network
from mflens.run.schema import with_numbers
from mflens.simulate.survey.depth import comoving_distance

UNIFORM = {"prior": "uniform", "min": 0.1, "max": 0.5}
NORMAL = {"prior": "normal", "mean": 0.3, "sd": 0.01}
FILE = {"kind": "file", "z_max": 5.0, "z_column": "middle", "extension": "NZ_SOURCE"}


class MyTier:
    """A user's tier, as far as the check can see."""

    def density_shells(self, cosmology, draw):
        return iter(())


def at(path, value):
    """Nest a value under a dotted path."""
    for key in reversed(path.split(".")):
        value = {key: value}
    return value


def problem(config, overlay):
    with pytest.raises(ConfigError) as caught:
        check_config(merge(config, overlay))
    return str(caught.value)


@pytest.mark.parametrize("path", sorted((ROOT / "config").glob("*.yaml")), ids=lambda p: p.stem)
def test_shipped_configs_are_valid(path):
    check_config(read_config(path.stem))


@pytest.mark.parametrize(
    "ladder",
    [["lognormal", "lpt"], ["lognormal", "particle_mesh"], ["lognormal", "lpt", "particle_mesh"]],
)
def test_ladders_are_valid(config, ladder):
    check_config(config | {"ladder": ladder})


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("theory.parameters.Omega_m", NORMAL),
        ("theory.parameters.h", UNIFORM | {"min": 0.6, "max": 0.8}),
        ("theory.parameters.m_nu", 0),
        ("theory.parameters", {"sigma_8": None, "S_8": UNIFORM}),
        ("theory.parameters", {"sigma_8": None, "A_s": 2.1e-9}),
        ("theory.parameters", {"w0": -0.9, "wa": NORMAL, "log10_T_AGN": 7.8}),
        ("theory.power", "emulator"),
        ("simulate.survey.mask", "full"),
        ("simulate.survey.sigma_e", 0),
        ("infer.methods", ["paired"]),
        ("simulate.tiers.mine", {"class": "test_check.MyTier", "depth": 3}),
    ],
)
def test_other_good_values_pass(config, path, value):
    check_config(merge(config, at(path, value)))


MISREAD = ["1e8", "1.0e8", "1e-3", "5e+2", "1.e4", ".5e0", "-1.0E3", "+2e1", "3", "0.26", "'0.3'"]


@pytest.mark.parametrize("text", MISREAD)
def test_numbers_that_yaml_takes_for_text_are_numbers(config, text):
    """In all places: by itself, in a list, in a prior, beside another type, at any depth."""
    value = yaml.safe_load(f"x: {text}")["x"]
    wanted = float(text.strip("'"))
    parts = {
        "theory.k_max_h_mpc": value,
        "theory.parameters.Omega_m.min": value,
        "theory.parameters.h": value,
        "simulate.survey.sigma_e": value,
        "simulate.survey.n_gal_arcmin2": [5.0, value],
        "tasks.g_and_k.training.learning_rate": value,
        "benchmarks.cost.lognormal.nside": [256, value],
        "simulate.tiers.mine.class": value,
    }
    for path, entry in parts.items():
        config = merge(config, at(path, entry))
    config["simulate"]["tiers"]["mine"]["depth"] = value
    found = with_numbers(config)
    assert found["theory"]["k_max_h_mpc"] == wanted
    assert found["theory"]["parameters"]["Omega_m"]["min"] == wanted
    assert found["theory"]["parameters"]["h"] == wanted
    assert found["simulate"]["survey"]["sigma_e"] == wanted
    assert found["simulate"]["survey"]["n_gal_arcmin2"] == [5.0, wanted]
    assert found["tasks"]["g_and_k"]["training"]["learning_rate"] == wanted
    assert found["benchmarks"]["cost"]["lognormal"]["nside"] == [256, wanted]
    # what may be text stays what it is
    assert found["simulate"]["tiers"]["mine"] == config["simulate"]["tiers"]["mine"]


@pytest.mark.parametrize(
    ("path", "text", "wanted"),
    [
        ("simulate.nside", "32", 32),
        ("simulate.chunk_size.bulk", "16", 16),
        ("simulate.chunk_size.bulk", "auto", "auto"),
        ("simulate.nside", "1e4", "1e4"),  # a float is no number of anything
        ("theory.k_max_h_mpc", "nan", "nan"),
        ("theory.k_max_h_mpc", "1e999", "1e999"),
        ("theory.k_max_h_mpc", "1,5", "1,5"),
        ("theory.power", "3", "3"),
        ("results_dir", "2024", "2024"),
    ],
)
def test_text_is_a_number_where_one_is_wanted(config, path, text, wanted):
    value = with_numbers(merge(config, at(path, text)))
    for key in path.split("."):
        value = value[key]
    assert value == wanted
    assert type(value) is type(wanted)


def test_numbers_as_text_change_nothing_else(config):
    assert with_numbers(config) == config
    assert list(with_numbers(config)["theory"]["parameters"]) == [*config["theory"]["parameters"]]


def test_user_tier_on_the_ladder(config):
    overlay = at("simulate.tiers.mine", {"class": f"{__name__}.MyTier", "depth": 3})
    check_config(merge(config, overlay) | {"ladder": ["lognormal", "mine"]})


BAD = [
    # the schema: path, value, what the sentence must hold
    ("simulate.nsid", 64, ["simulate.nsid", "64", "'nside'"]),
    ("theory.parameters.omega_m", 0.3, ["theory.parameters.omega_m", "0.3", "'Omega_m'"]),
    ("simulat", {}, ["simulat", "'simulate'"]),
    ("simulate.tiers.lpt.steps", 3, ["simulate.tiers.lpt.steps", "3", "order"]),
    ("simulate.survey.redshifts.z0", 1, ["simulate.survey.redshifts.z0", "1", "'z_0'"]),
    ("theory.parameters.Omega_m.mim", 0, ["theory.parameters.Omega_m.mim", "0", "'min'"]),
    ("simulate.nside", "big", ["simulate.nside", "'big'", "integer", "power of two"]),
    ("simulate.nside", 16.0, ["simulate.nside", "16.0", "integer"]),
    ("simulate.nside", True, ["simulate.nside", "True", "integer"]),
    ("simulate.nside", None, ["simulate.nside", "None", "integer"]),
    ("infer.training.learning_rate", "1e-3", ["learning_rate", "'1e-3'", "write 0.001)"]),
    ("infer.training.learning_rate", "1.0e8", ["'1.0e8'", "write 100000000.0)"]),
    ("infer.training.learning_rate", "1e-6", ["'1e-6'", "write 1.0e-06)"]),
    ("simulate.sims.bulk", "1e4", ["simulate.sims.bulk", "'1e4'", "write 10000)"]),
    ("simulate.mesh", 3, ["simulate.mesh", "3", "mapping"]),
    ("ladder", "lognormal", ["ladder", "'lognormal'", "list"]),
    ("ladder", [], ["ladder", "[]", "fewer"]),
    ("theory.parameters.h", "0.7", ["theory.parameters.h", "'0.7'", "number"]),
    ("theory.parameters.h", {"min": 1, "max": 2}, ["theory.parameters.h.prior", "missing"]),
    ("theory.parameters.h", {"prior": "flat"}, ["theory.parameters.h.prior", "'flat'", "uniform"]),
    ("theory.parameters.h", {"prior": "normal", "mean": 1}, ["h.sd", "missing", "deviation"]),
    ("simulate.survey.redshifts.kind", "smial", ["redshifts.kind", "'smial'", "'smail'"]),
    ("infer.device", "gpu", ["infer.device", "'gpu'", "'cpu'"]),
    ("infer.methods", ["pared"], ["infer.methods[0]", "'pared'", "'paired'"]),
    ("infer.methods", ["mlmc", "mlmc"], ["infer.methods", "'mlmc'", "twice"]),
    ("infer.training.patience", 0, ["infer.training.patience", "0", "minimum 1"]),
    ("simulate.survey.sigma_e", -1, ["simulate.survey.sigma_e", "-1", "minimum 0"]),
    ("simulate.survey.sigma_e", math.nan, ["simulate.survey.sigma_e", "nan", "finite"]),
    ("seed", -1, ["seed", "-1"]),
    ("simulate.tiers.mine", {"depth": 3}, ["simulate.tiers.mine.class", "missing"]),
    ("simulate.nside", 16384, ["simulate.nside", "16384", "8192"]),
    ("theory.parameters.h", 1e-300, ["theory.parameters.h", "1e-300", "1e-20"]),
    ("theory.k_max_h_mpc", 10**400, ["theory.k_max_h_mpc", "1e+20"]),
    # results
    ("results_dir", "a{b}", ["results_dir", "'a{b}'", "braces"]),
    ("results_dir", "a\nb", ["results_dir", "invisible"]),
    ("results_dir", "~/x", ["results_dir", "'~/x'", "in full"]),
    ("results_dir", "a/../b/", ["results_dir", "write 'b'"]),
    ("results_dir", "../..", ["results_dir", "no folder of its own"]),
    ("results_dir", "x" * 201, ["results_dir", "200 bytes"]),
    ("results_dir", "/dev/null", ["results_dir", "'/dev/null'", "is a file"]),
    # priors
    ("theory.parameters.h", UNIFORM | {"max": 0.1}, ["theory.parameters.h", "0.1", "below"]),
    ("theory.parameters.h", NORMAL | {"sd": -0.1}, ["theory.parameters.h.sd", "-0.1"]),
    ("theory.parameters.h", -0.7, ["theory.parameters.h", "-0.7", "positive"]),
    ("theory.parameters.m_nu", -0.1, ["theory.parameters.m_nu", "-0.1"]),
    ("theory.parameters", {"Omega_m": 0.3, "sigma_8": 0.8}, ["theory.parameters", "prior"]),
    ("theory.parameters.sigma_8", None, ["theory.parameters", "none of sigma_8, S_8 and A_s"]),
    ("theory.parameters.S_8", 0.8, ["theory.parameters", "sigma_8 and S_8", "sigma_8: null"]),
    ("theory.parameters.h", None, ["theory.parameters.h", "None", "mapping"]),
    ("theory.parameters.Omega_b", UNIFORM, ["theory.parameters.Omega_m", "0.15", "0.5", "Omega_b"]),
    ("theory.parameters.m_nu", 8.0, ["theory.parameters.Omega_m", "neutrinos", "0.2212"]),
    ("theory.parameters.wa", NORMAL | {"mean": 1.0}, ["theory.parameters.wa", "0.04", "below 0"]),
    (
        "theory",
        {"parameters": {"w0": -2.0}, "shells": {"n_shells": 9}},
        ["theory.shells.n_shells", "3600", "redshifts.z_max", "w0 = -2", "auto, here 11"],
    ),
    ("theory.shells.n_shells", 30, ["theory.shells.n_shells", "12000", "z = 20", "auto, here 9"]),
    ("theory.shells.n_shells", 1, ["theory.shells.n_shells", "1 ", "minimum 2", "auto"]),
    ("theory.shells.n_shells", "all", ["theory.shells.n_shells", "'all'", "integer", "auto"]),
    ("theory.nonlinear", "mead2020_feedback", ["log10_T_AGN", "mead2020_feedback needs"]),
    ("theory.power", "class", ["theory.power", "'class'", "camb"]),
    ("theory.emulator.n_training", 3, ["theory.emulator.n_training", "3", "minimum 8"]),
    # ladder
    ("ladder", ["lognormal", "nbody"], ["ladder", "'nbody'", "lognormal, lpt, particle_mesh"]),
    ("ladder", ["lognormal"], ["ladder", "['lognormal']", "second"]),
    ("ladder", ["lognormal", "lognormal"], ["ladder", "'lognormal'", "more than once"]),
    # sims
    ("simulate.realisations_per_cosmology", 5, ["sims.bulk", "48", "5"]),
    ("simulate.chunk_size.bulk", 10, ["simulate.chunk_size.bulk", "10", "multiple"]),
    ("simulate.chunk_size.validation", 2, ["simulate.chunk_size.validation", "2", "multiple"]),
    ("simulate.mocks_per_run", 5, ["simulate.sims.pairs", "8", "mocks_per_run = 5"]),
    ("simulate", {"mocks_per_run": 4, "chunk_size": {"pairs": 6}}, ["chunk_size.pairs", "6", "4"]),
    ("simulate.mocks_per_run", 8, ["infer.n_high", "8", "mocks_per_run = 8", "n_folds"]),
    ("simulate.n_convergence", 13, ["simulate.n_convergence", "13", "pairs"]),
    ("simulate.sims.test", 10**8, ["simulate.sims.test", "100000000", "10000000"]),
    ("simulate.sims.bulk", 4_000_000, ["simulate.sims.bulk", "4000000", "chunk size"]),
    # resolution
    ("simulate.nside", 24, ["simulate.nside", "24", "power of two"]),
    ("simulate.mesh.projection_nside", 48, ["projection_nside", "48", "power of two"]),
    ("simulate.mesh.projection_nside", 8, ["projection_nside", "8", "32"]),
    ("simulate.ell_max", 33, ["simulate.ell_max", "33", "32"]),
    ("simulate.mesh.n_mesh", 48, ["simulate.mesh.n_mesh", "48", "power of two"]),
    ("benchmarks.nside", [64, 96], ["benchmarks.nside[1]", "96", "power of two"]),
    ("benchmarks.memory.n_mesh", 48, ["benchmarks.memory.n_mesh", "48", "power of two"]),
    ("simulate.tiers.lognormal.shift", "hilbert", ["simulate.tiers.lognormal.shift", "'hilbert'"]),
    ("simulate.bands", [4, 8, 8], ["simulate.bands", "8", "increase"]),
    ("simulate.bands", [4, 8, 40], ["simulate.bands", "40", "32"]),
    # survey
    ("simulate.survey.redshifts.edges", [0.0, 0.7, 0.7], ["redshifts.edges", "0.7", "increase"]),
    (
        "simulate.survey.redshifts",
        {"edges": [0.0, 0.7, 1.7], "z_max": 1.5},
        ["redshifts.edges", "1.7", "z_max", "auto"],
    ),
    (
        "simulate.survey.redshifts",
        {"kind": "gaussian", "mean": [0.4, 21.0], "sd": [0.1, 0.1]},
        ["redshifts.z_max", "z = 21.4", "z = 20"],
    ),
    ("simulate.survey.redshifts.z_max", "none", ["redshifts.z_max", "'none'", "auto"]),
    ("theory.shells.n_shells", 5, ["redshifts.z_max", "1.5", "n_shells", "2000"]),
    ("simulate.survey.n_gal_arcmin2", [5.0], ["n_gal_arcmin2", "[5.0]", "2"]),
    ("simulate.survey.mask", "no.fits", ["simulate.survey.mask", "'no.fits'", "octant"]),
    # compressor
    ("compress.network.n_summaries", 1, ["compress.network.n_summaries", "1", "2 inferred"]),
    ("compress.network.n_summaries", 0, ["compress.network.n_summaries", "0", "'auto'"]),
    ("compress.network.n_summaries", "most", ["n_summaries", "'most'", "'auto'", "integer"]),
    # inference and evaluation
    ("infer.n_high", [13], ["infer.n_high", "13", "simulate.sims.pairs", "8"]),
    ("infer.n_high", [3], ["infer.n_high", "3", "n_folds", "4"]),
    ("infer.n_high", [8, 8], ["infer.n_high", "8", "more than once"]),
    ("evaluate.n_chains", 17, ["evaluate.n_chains", "17", "12"]),
    ("report.triangle_sims", 17, ["report.triangle_sims", "17", "12"]),
]


@pytest.mark.parametrize(("path", "value", "words"), BAD)
def test_bad_values_are_named(config, path, value, words):
    message = problem(config, at(path, value))
    assert all(word in message for word in words), message
    assert "\n" not in message
    assert message[-1] in ".?"


def test_feedback_needs_its_strength_and_a_tier_that_knows_it(config):
    strength = at("theory.parameters.log10_T_AGN", UNIFORM | {"min": 7.3, "max": 8.3})
    message = problem(config, {"ladder": ["lognormal", "baryons"]})
    assert "log10_T_AGN" in message
    assert "7.8" in message
    assert "no tier of the ladder" in problem(config, strength)
    check_config(merge(config, strength | {"ladder": ["lognormal", "baryons"]}))


def test_summaries_are_at_least_as_many_as_inferred_nuisances_and_parameters(config):
    """Omega_m, sigma_8, A_IA and one shift; the other shift is marginalised."""
    shift = NORMAL | {"mean": 0.0}
    shifts = {"delta_z_1": shift | {"infer": True}, "delta_z_2": shift | {"infer": False}}
    nuisances = {**shifts, "A_IA": UNIFORM | {"infer": True}, "m_1": 0.01}
    config = merge(config, at("simulate.survey.nuisances", nuisances))
    config = merge(config, at("compress.network.n_summaries", "auto"))
    assert compressor_network(config)["n_summaries"] == 4
    check_config(merge(config, at("compress.network.n_summaries", 4)))
    message = problem(config, at("compress.network.n_summaries", 3))
    assert "3 are fewer than the 4 inferred parameters" in message
    assert compressor_network(merge(config, at("compress.network.n_summaries", 7))) == {
        **config["compress"]["network"],
        "n_summaries": 7,
    }


def test_the_documented_survey_command_has_a_summary_for_each_inferred_parameter():
    """Omega_m, sigma_8 and A_IA."""
    config = read_config("survey", "euclid_dr1")
    check_config(config)
    assert compressor_network(config)["n_summaries"] == 3


def test_principal_components_of_a_task_are_at_least_as_many_as_its_parameters(config):
    wanted = {"n_summaries": 1, "runs": {"pairs_20": {"levels": [500, 20]}}}
    message = problem(config, at("tasks.camels.experiments.joint_matched", wanted))
    assert "tasks.camels.experiments.joint_matched.n_summaries: 1" in message
    assert "2 parameters" in message
    check_config(merge(config, at("tasks.camels.experiments.sigma_8_matched", wanted)))


def test_missing_key_is_named(config):
    del config["simulate"]["mesh"]["n_mesh"]
    message = problem(config, {})
    assert "simulate.mesh.n_mesh" in message
    assert "missing" in message


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("nowhere.Tier", "nowhere"),
        ("Tier", "'Tier'"),
        (f"{__name__}.Nothing", "Nothing"),
        ("math.pi", "density_shells"),
    ],
)
def test_user_tier_that_is_none(config, name, word):
    config["ladder"] = ["lognormal", "mine"]
    message = problem(config, at("simulate.tiers.mine", {"class": name}))
    assert "simulate.tiers.mine.class" in message
    assert word in message


class TestMask:
    def write(self, folder: Path, values: np.ndarray) -> dict:
        healpy.write_map(folder / "mask.fits", values, dtype=np.float64)
        return at("simulate.survey.mask", str(folder / "mask.fits"))

    def test_good(self, config, tmp_path):
        check_config(merge(config, self.write(tmp_path, np.ones(12 * 16**2))))

    @pytest.mark.parametrize("nside", [8, 64])
    def test_another_nside(self, config, tmp_path, nside):
        check_config(merge(config, self.write(tmp_path, np.ones(12 * nside**2))))

    @pytest.mark.parametrize(("value", "word"), [(0, "no pixel"), (2, "2.0"), (np.nan, "nan")])
    def test_bad_values(self, config, tmp_path, value, word):
        message = problem(config, self.write(tmp_path, np.full(12 * 16**2, float(value))))
        assert "simulate.survey.mask" in message
        assert word in message

    def test_other_file(self, config):
        assert "FITS" in problem(config, at("simulate.survey.mask", __file__))


class TestRedshiftFile:
    def overlay(self, folder: Path, text: str) -> dict:
        (folder / "nz.txt").write_text(text)
        return FILE | {"path": str(folder / "nz.txt")}

    def check(self, config, folder, text):
        config["simulate"]["survey"]["redshifts"] = self.overlay(folder, text)
        check_config(config)

    def test_good(self, config, tmp_path):
        self.check(config, tmp_path, "# z n_1 n_2\n0.1 1 0\n0.5 1 1\n0.9 0 1\n")

    @pytest.mark.parametrize(
        ("text", "word"),
        [
            ("0.1 1\n0.5 1\n", "n_gal_arcmin2"),
            ("0.1 1 1\n4.5 1 1\n5.5 1 1\n", "z_max: 5 leaves"),
            ("0.5 1 1\n0.1 1 1\n0.3 1 1\n", "increase"),
            ("0.1 1 0\n0.5 1 0\n", "no sources"),
            ("0.1\n0.2\n", "columns"),
            ("z n\n", "numbers"),
        ],
    )
    def test_bad(self, config, tmp_path, text, word):
        with pytest.raises(ConfigError, match="simulate.survey") as caught:
            self.check(config, tmp_path, text)
        assert word in str(caught.value)

    def test_missing(self, config):
        config["simulate"]["survey"]["redshifts"] = FILE | {"path": "no.txt"}
        assert "'no.txt'" in problem(config, {})


def test_normal_prior_counts_to_four_sigma(config):
    prior = {"prior": "normal", "mean": 0.3, "sd": 0.05}
    overlay = {"parameters": {"Omega_m": prior}, "shells": {"n_shells": 9}}
    assert "Omega_m = 0.1;" in problem(config, {"theory": overlay})


def test_emulator_needs_priors_it_can_be_trained_for(config):
    emulated, config = at("theory.power", "emulator"), merge(config, at("theory.power", "camb"))
    wide = at("theory.parameters.h", {"prior": "normal", "mean": 0.7, "sd": 0.2})
    check_config(merge(config, wide))
    message = problem(merge(config, emulated), wide)
    assert "theory.parameters.h" in message and "-0.1" in message
    fixed = {"Omega_m": 0.3, "sigma_8": 0.8, "log10_T_AGN": UNIFORM | {"min": 7.5, "max": 8.0}}
    config["theory"]["parameters"] |= fixed
    config["ladder"] = ["lognormal", "baryons"]
    check_config(config)
    message = problem(config, emulated)
    assert "theory.power" in message and "log10_T_AGN" in message and "camb" in message


def test_feedback_may_be_free_where_the_spectra_know_it(config):
    config["theory"]["parameters"]["log10_T_AGN"] = UNIFORM | {"min": 7.5, "max": 8.0}
    assert "no tier of the ladder" in problem(config, {})
    check_config(merge(config, at("theory.nonlinear", "mead2020_feedback")))


def test_comoving_distance_with_dark_energy_agrees_with_astropy():
    expected = Flatw0waCDM(H0=100, Om0=0.3, w0=-1.2, wa=0.4).comoving_distance(1.5).value
    assert comoving_distance(1.5, 0.3, -1.2, 0.4) == pytest.approx(expected, rel=1e-5)


def test_comoving_distance_of_einstein_de_sitter():
    assert comoving_distance(1.5, 1.0) == pytest.approx(2 * 2997.92458 * (1 - 2.5**-0.5), rel=1e-6)


def test_import_is_light():
    """The Snakefile runs the check at every start and in every cluster job."""
    code = (
        "import sys, mflens.run.check; "
        "print([m for m in ('torch', 'healpy', 'glass', 'camb', 'scipy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
