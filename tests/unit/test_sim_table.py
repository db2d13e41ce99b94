"""The table of sims on disk: names of parameters, priors, and which sims serve which split."""

import numpy as np
import pandas as pd
import pytest

from configs import merge
from mflens.design.draw import are_paired, draw_design, place_sims
from mflens.design.sim_table import fixed_problems, parameter_problems, read_sim_table
from mflens.errors import ConfigError
from mflens.prior import Prior
from mflens.run.check import check_config

FREE = {
    "Omega_m": {"prior": "uniform", "min": 0.1, "max": 0.5},
    "sigma_8": {"prior": "uniform", "min": 0.6, "max": 1.0},
}
PARAMETERS = {**FREE, "h": 0.7, "n_s": 0.96, "Omega_b": 0.046, "m_nu": 0.0}
SIZES = [("bulk", 16, 2), ("test", 6, 1), ("pairs_shells_on_disk", 4, 1)]
SPLITS = {"test": ["shells_on_disk"], "pairs_shells_on_disk": ["shells_on_disk"]}


def write(path, text):
    path.write_text(text)
    return str(path)


def sims(n_cosmologies: int, runs: int = 1, seed: int = 0) -> pd.DataFrame:
    """Return a table of sims as `read_sim_table` does."""
    rng = np.random.default_rng(seed)
    theta = np.repeat(rng.uniform([0.1, 0.6], [0.5, 1.0], (n_cosmologies, 2)), runs, axis=0)
    table = pd.DataFrame(theta, columns=["Omega_m", "sigma_8"])
    table["file"] = [f"sim{i:05d}" for i in range(len(table))]
    table["pair"] = [f"phases_{i}" for i in range(len(table))]
    return table


def place(tables, splits=SPLITS, sizes=SIZES, seed=3):
    design = draw_design(Prior(PARAMETERS), sizes, seed)
    return design, place_sims(design, tables, splits, list(FREE), seed)


class TestNames:
    def test_of_the_gower_street_sheet(self, tmp_path):
        path = write(
            tmp_path / "sims.csv",
            "Serial Number,Omega_m,sigma_8,w,Omega_b little_h^2,little_h,n_s,m_nu,file\n"
            "1,0.3,0.8,-1,0.0225,0.75,0.96,0.06,sim00001\n",
        )
        table = read_sim_table(path)
        row = table.iloc[0]
        assert row["Omega_b"] == pytest.approx(0.0225 / 0.75**2)
        assert (row["h"], row["w0"], row["m_nu"], row["file"]) == (0.75, -1, 0.06, "sim00001")
        assert "Serial Number" not in table

    def test_of_cosmogrid_with_sigma_8_spelt_out(self, tmp_path):
        path = write(
            tmp_path / "sims.csv",
            "file, pair, Om, sigma8, H0, Ob, ns, m_nu, w0, As\n"
            "cosmo_1/run_0/a.npz, 007, 0.27, 0.9, 67.36, 0.05, 0.97, 0.06, -1, 2e-9\n",
        )
        row = read_sim_table(path).iloc[0]
        assert row["h"] == pytest.approx(0.6736)
        assert row["S_8"] == pytest.approx(0.9 * 0.9**0.5)
        assert (row["pair"], row["A_s"]) == ("007", 2e-9)

    def test_sigma_8_follows_from_S_8(self, tmp_path):
        table = read_sim_table(write(tmp_path / "a.csv", "file,Omega_m,S8\na,0.27,0.8\n"))
        assert table["sigma_8"][0] == pytest.approx(0.8 / 0.9**0.5)

    @pytest.mark.parametrize(
        ("text", "word"),
        [
            ("file,Omega_m,s8\na,0.3,0.8\n", "'s8' is ambiguous; call it sigma_8 or S_8"),
            ("file,omega_b\na,0.02\n", "'omega_b' is ambiguous"),
            ("name,Omega_m\na,0.3\n", "no column 'file'"),
            ("file,Omega_m\n", "no rows"),
            ("file,Om,omegam\na,0.3,0.3\n", "Om and omegam|omegam and Om"),
            ("file,Omega_m\na,x\n", "a has Omega_m = x"),
            ("file,Omega_m\na,\n", "a has Omega_m = nan"),
            ("file,Omega_m\na,0.3\na,0.4\n", "repeated"),
            ("file,pair\na,1\nb,1\n", "'pair'"),
            ("", "no CSV"),
        ],
    )
    def test_bad_tables(self, tmp_path, text, word):
        with pytest.raises(ConfigError, match=word) as caught:
            read_sim_table(write(tmp_path / "sims.csv", text))
        assert "sims.csv" in str(caught.value)
        assert "\n" not in str(caught.value)

    def test_missing_table(self):
        with pytest.raises(ConfigError, match="nowhere.csv"):
            read_sim_table("nowhere.csv")


CONSISTENT = [
    # printed to three, four or all digits; right by a calculator
    "h,H0\n0.7,70\n0.674,67.36\n0.6736,67.36",
    "sigma_8,Omega_m,S_8\n0.8,0.3,0.8\n0.82,0.31,0.834\n0.815,0.312,0.831",
    "sigma8,Om,S8\n0.7612345,0.2512345,0.6966285",
    "Omega_b,ombh2,h\n0.046,0.0224,0.7\n0.0493,0.02237,0.6736",
    "Omega_m,ommh2,H0\n0.3153,0.1431,67.36",
    "Omega_c,omch2,h\n0.2645,0.12,0.6736",
    # with neutrinos of 0.06 eV, 0.0014, counted as matter and not
    "Omega_m,Omega_c,Omega_b,m_nu,h\n0.3153,0.2645,0.0493,0.06,0.6736",
    "Omega_m,Omega_c,Omega_b,m_nu,h\n0.3138,0.2645,0.0493,0.06,0.6736",
    "Omega_m,Ol\n0.3,0.7\n0.3,0.69991",
    "A_s,ln10^{10}A_s\n2.1e-9,3.045\n2.0989e-09,3.044",
    "A_s,logA\n2.1e-9,3.0445",
    "h,h0\n0.7,70",
    "H0,h0\n70,0.7",
    "Omega_m,Omega_k\n0.3,0.0",
]
CONTRADICTIONS = [
    ("h,H0\n0.7,67.36", "h = 0.7, but also H0 = 67.36, which means h = 0.6736"),
    ("h0,H0\n0.7,67.36", "h0 = 0.7, but also H0 = 67.36"),
    ("h,h0\n0.7,67.4", "h = 0.7, but also h0 = 67.4"),
    ("S_8,sigma_8,Omega_m\n0.9,0.8,0.3", "S_8 = 0.9, but also sigma_8 = 0.8 and Omega_m = 0.3"),
    ("S8,sigma8,Om\n0.81,0.8,0.3", "S8 = 0.81, but also sigma8 = 0.8 and Om = 0.3"),
    ("S8,sigma8,ommh2,H0\n0.9,0.8,0.147,70", "sigma8 = 0.8 and ommh2 = 0.147 and H0 = 70"),
    ("Omega_b,ombh2,h\n0.05,0.0224,0.7", "Omega_b = 0.05, but also ombh2 = 0.0224 and h = 0.7"),
    ("Omega_b,ombh2,H0\n0.0224,0.0224,70", "which means Omega_b = 0.04571"),
    ("Omega_m,omegamh2,h\n0.3,0.1431,0.7", "Omega_m = 0.3, but also omegamh2 = 0.1431"),
    ("Omega_m,omch2,ombh2,h,mnu\n0.4,0.12,0.0224,0.7,0", "Omega_m = 0.4, but also omch2 = 0.12"),
    ("Omega_m,Omega_de\n0.3,0.6", "Omega_de = 0.6, but also Omega_m = 0.3"),
    ("A_s,ln10^{10}A_s\n2.1e-9,3.2", "A_s = 2.1e-09, but also ln10^{10}A_s = 3.2"),
    ("h,H0\n0.7,70\n0.7,71", "sim1 has h = 0.7, but also H0 = 71"),
    ("Om,Om\n0.3,0.4", "two columns 'Om'"),
]
IMPLAUSIBLE = [
    ("h\n70", "h = 70"), ("little_h\n67.4", "little_h = 67.4"), ("H0\n0.7", "H0 = 0.7"),
    ("h0\n0.7\n70", "h0 = 70"), ("A_s\n2.1", "A_s = 2.1"), ("As\n3.044", "As = 3.044"),
    ("A_s\n0", "A_s = 0"), ("logA\n2.1e-9", "logA = 2.1e-09"), ("Om\n30", "Om = 30"),
    ("ombh2\n2.24", "ombh2 = 2.24"), ("w\n1", "w = 1"), ("omegak\n0.01", "omegak = 0.01"),
    ("mnu\n60", "mnu = 60"), ("S8\n-0.8", "S8 = -0.8"), ("m_ncdm\n0.02", "ambiguous"),
    ("omega_c\n0.12", "ambiguous"),
]  # fmt: skip


def with_files(text: str) -> str:
    """Put a column `file` before those of a table."""
    head, *rows = text.splitlines()
    return "\n".join([f"file,{head}", *(f"sim{i},{row}" for i, row in enumerate(rows))]) + "\n"


class TestDerived:
    @pytest.mark.parametrize("text", CONSISTENT)
    def test_what_agrees_is_read(self, tmp_path, text):
        table = read_sim_table(write(tmp_path / "sims.csv", with_files(text)))
        assert len(table) == len(text.splitlines()) - 1

    @pytest.mark.parametrize(("text", "words"), CONTRADICTIONS + IMPLAUSIBLE)
    def test_what_does_not_is_one_sentence(self, tmp_path, text, words):
        with pytest.raises(ConfigError) as caught:
            read_sim_table(write(tmp_path / "sims.csv", with_files(text)))
        assert words in str(caught.value)
        assert "sims.csv: " in str(caught.value)
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize(
        ("text", "name", "value"),
        [
            ("h0\n70\n67.36", "h", 0.6736),
            ("h0\n0.7\n0.6736", "h", 0.6736),
            ("hubble\n67.36", "h", 0.6736),
            ("ommh2,h0\n0.1431,67.36", "Omega_m", 0.31538),
            ("omch2,ombh2,mnu,H0\n0.12,0.02237,0.06,67.36", "Omega_m", 0.31519),
            ("logA\n3.044", "A_s", 2.0989e-9),
            ("omch2,ombh2,mnu,H0,S8\n0.12,0.02237,0,67.36,0.83", "sigma_8", 0.81161),
        ],
    )
    def test_what_follows(self, tmp_path, text, name, value):
        """Planck 2018's parameters, by a calculator."""
        table = read_sim_table(write(tmp_path / "sims.csv", with_files(text)))
        assert table[name].iloc[-1] == pytest.approx(value, rel=1e-4)

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("ombh2\n0.0224", None),
            ("ombh2\n0.0294", "ombh2 = 0.0294 and theory.parameters.h = 0.7"),
            ("Omega_b,ombh2\n0.046,0.0294", "which means Omega_b = 0.06"),
            ("ommh2,Om\n0.2,0.3", "which means Omega_m = 0.4082"),
            ("Om,Oc\n0.3,0.254", None),
            ("Om,Oc\n0.3,0.2", "Om = 0.3, but also Oc = 0.2 and theory.parameters.Omega_b"),
        ],
    )
    def test_numbers_of_the_config_that_the_table_lacks(self, tmp_path, text, words):
        path = write(tmp_path / "sims.csv", with_files(text))
        problems = list(fixed_problems(path, PARAMETERS))
        assert bool(problems) == bool(words)
        assert not words or (words in problems[0] and problems[0].startswith(f"{path}: sim0 has"))


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({}, []),
        ({"Omega_m": [0.3, 0.6]}, ["b has Omega_m = 0.6", "between 0.1 and 0.5", "widen"]),
        ({"h": [0.7, 0.72]}, ["b has h = 0.72", "fixed to 0.7", "prior"]),
        ({"h": [0.7, 0.70001]}, []),
        ({"w0": [-1.0, -0.9]}, ["b has w0 = -0.9", "theory.parameters.w0", "fixed to -1"]),
        ({"Omega_m": [0.1 - 1e-12, 0.5000001]}, []),
        ({"Omega_m": [0.1, 0.501]}, ["b has Omega_m = 0.501", "between 0.1 and 0.5"]),
        ({"Omega_m": [0.3, 0.3]}, ["all sims have Omega_m = 0.3", "theory.parameters.Omega_m"]),
        ({"n_s": [0.93, 0.99]}, []),
        ({"n_s": [0.9, 0.99]}, ["a has n_s = 0.9", "from 0.92 to 1", "4 sd", "widen"]),
        ({"sigma_8": None}, ["no column sigma_8", "theory.parameters.sigma_8"]),
    ],
)
def test_table_against_the_config(columns, words):
    table = {"file": ["a", "b"], "Omega_m": [0.3, 0.4], "sigma_8": [0.7, 0.8], **columns}
    table = pd.DataFrame({name: values for name, values in table.items() if values is not None})
    parameters = PARAMETERS
    if "n_s" in columns:
        parameters = {**PARAMETERS, "n_s": {"prior": "normal", "mean": 0.96, "sd": 0.01}}
    problems = list(parameter_problems("sims.csv", table, parameters))
    assert bool(problems) == bool(words)
    assert all(word in problems[0] for word in words)


class TestPlacement:
    def test_sims_come_from_the_table_and_no_cosmology_twice(self):
        table = sims(12).set_index("file", drop=False)
        _, placed = place({"shells_on_disk": table})
        chosen = placed[placed["split"] != "bulk"]
        assert chosen["file_shells_on_disk"].is_unique
        for name in FREE:
            expected = table.loc[chosen["file_shells_on_disk"], name]
            np.testing.assert_array_equal(chosen[name], expected)
        assert chosen["cosmology"].is_unique
        assert not chosen["Omega_m"].duplicated().any()

    def test_other_splits_and_seeds_are_as_without(self):
        design, placed = place({"shells_on_disk": sims(12)})
        bulk = placed["split"] == "bulk"
        pd.testing.assert_frame_equal(placed.loc[bulk, design.columns], design[bulk])
        assert placed.loc[bulk, "file_shells_on_disk"].isna().all()
        pd.testing.assert_series_equal(placed["seed"], design["seed"])
        pd.testing.assert_series_equal(placed["sim"], design["sim"])

    def test_runs_of_a_cosmology_stay_in_one_split(self):
        """Five cosmologies of three runs: two runs of each suffice for six and four sims."""
        table = sims(5, runs=3)
        _, placed = place({"shells_on_disk": table})
        chosen = placed[placed["split"] != "bulk"]
        by_cosmology = chosen.groupby("Omega_m")
        assert (by_cosmology["split"].nunique() == 1).all()
        assert (by_cosmology["cosmology"].nunique() == 1).all()
        assert by_cosmology.size().max() == 2
        test = chosen[chosen["split"] == "test"]
        assert test["Omega_m"].iloc[:3].is_unique, "first one run of each cosmology"
        assert set(chosen["cosmology"]) <= set(chosen["sim"])

    def test_nuisances_that_no_table_has_stay_as_drawn(self):
        prior = {**PARAMETERS, "A_IA": {"prior": "uniform", "min": -1, "max": 1}}
        design = draw_design(Prior(prior), SIZES, 3)
        placed = place_sims(design, {"shells_on_disk": sims(12)}, SPLITS, [*FREE, "A_IA"], 3)
        pd.testing.assert_series_equal(placed["A_IA"], design["A_IA"])

    def test_seed_decides(self):
        files = [
            list(place({"shells_on_disk": sims(12)}, seed=seed)[1]["file_shells_on_disk"][16:])
            for seed in (3, 3, 4)
        ]
        assert files[0] == files[1]
        assert files[0] != files[2]

    @pytest.mark.parametrize(("n", "runs"), [(9, 1), (2, 5)])
    def test_too_few_sims(self, n, runs):
        with pytest.raises(ConfigError, match=r"simulate\.sims: .* needs .* cosmology") as caught:
            place({"shells_on_disk": sims(n, runs)})
        assert "shells_on_disk" in str(caught.value)

    def test_pairs_on_disk_are_joined_by_their_initial_conditions(self):
        high = sims(14)
        low = high.sample(frac=1, random_state=0).assign(file=lambda t: "dark_" + t["pair"])
        splits = {"bulk": ["dark"], "test": ["hydro"], "pairs_hydro": ["dark", "hydro"]}
        sizes = [("bulk", 4, 2), ("test", 6, 1), ("pairs_hydro", 4, 1)]
        _, placed = place({"dark": low, "hydro": high}, splits, sizes)
        phases = high.set_index("file")["pair"]
        pairs = placed[placed["split"] == "pairs_hydro"]
        expected = "dark_" + phases[pairs["file_hydro"]]
        np.testing.assert_array_equal(pairs["file_dark"], expected)
        by_split = placed.groupby("split")["Omega_m"].agg(set)
        assert len(set.union(*by_split)) == sum(len(s) for s in by_split) == 14
        assert are_paired(pairs)
        for table, factor in ((high, 1.0), (low, 1.5)):
            table["A_s"] = 2e-9 * factor
        with pytest.raises(ConfigError, match="different A_s"):
            place({"dark": low, "hydro": high}, splits, sizes)
        low["A_s"] = high["A_s"] = 2e-9
        low.loc[low.index[3], "sigma_8"] += 0.01
        with pytest.raises(ConfigError, match="different sigma_8"):
            place({"dark": low, "hydro": high}, splits, sizes)

    def test_marks_of_pairs(self):
        _, placed = place({"shells_on_disk": sims(12)})
        pairs = placed[placed["split"] == "pairs_shells_on_disk"]
        assert not are_paired(pairs)
        assert are_paired(pairs.drop(columns="file_shells_on_disk"))
        assert not are_paired(placed[placed["split"] == "bulk"])


@pytest.fixture
def disk(config, tmp_path):
    """Return a config with 20 sims on disk, its table and its folder."""
    table = sims(20).drop(columns="pair")
    table["Omega_m"] = table["Omega_m"].clip(0.16, 0.44)
    for file in table["file"]:
        (tmp_path / file).touch()
    table.to_csv(tmp_path / "sims.csv", index=False)
    options = {"format": "hdf5", "path": str(tmp_path), "paired": False}
    options["table"] = str(tmp_path / "sims.csv")
    overlay = {
        "simulate": {"tiers": {"shells_on_disk": options}},
        "infer": {"methods": ["prior", "linear", "high_only", "transfer"]},
    }
    return merge(config, overlay) | {"ladder": ["lognormal", "shells_on_disk"]}


class TestCheck:
    def problem(self, config, overlay):
        with pytest.raises(ConfigError) as caught:
            check_config(merge(config, overlay))
        assert "\n" not in str(caught.value)
        return str(caught.value)

    def test_good(self, disk):
        check_config(disk)

    @pytest.mark.parametrize("method", ["mlmc", "paired"])
    def test_methods_that_need_pairs(self, disk, method):
        message = self.problem(disk, {"infer": {"methods": ["transfer", method]}})
        assert message.startswith(f"infer.methods: '{method}'")
        assert "transfer, high_only or linear" in message

    def test_paired_without_another_tier_on_disk(self, disk):
        message = self.problem(disk, {"simulate": {"tiers": {"shells_on_disk": {"paired": True}}}})
        assert "simulate.tiers.shells_on_disk.paired: true" in message
        assert "lognormal" in message

    def test_two_tiers_on_disk_without_pairs(self, disk):
        options = disk["simulate"]["tiers"]["shells_on_disk"]
        other = {"class": "mflens.simulate.on_disk.ShellsOnDisk", **options}
        disk["simulate"]["tiers"]["dark"] = other
        disk["ladder"] = ["dark", "shells_on_disk"]
        assert "shells_on_disk.paired: false" in self.problem(disk, {})
        other["paired"] = options["paired"] = True
        assert "no column 'pair'" in self.problem(disk, {"infer": {"methods": ["mlmc"]}})

    def test_missing_options(self, disk):
        del disk["simulate"]["tiers"]["shells_on_disk"]
        assert "simulate.tiers.shells_on_disk: this key is missing" in self.problem(disk, {})

    @pytest.mark.parametrize(
        ("options", "word"),
        [
            ({"format": "uchuu"}, "'uchuu'"),
            ({"path": "nowhere"}, "'nowhere' does not hold sim00000"),
            ({"table": "nowhere.csv"}, "nowhere.csv"),
            ({"colour": 1}, "colour"),
        ],
    )
    def test_bad_options(self, disk, options, word):
        assert word in self.problem(disk, {"simulate": {"tiers": {"shells_on_disk": options}}})

    def test_shear_has_plain_layouts_alone(self, disk):
        options = {**disk["simulate"]["tiers"]["shells_on_disk"], "format": "flamingo"}
        overlay = {"simulate": {"tiers": {"shear_on_disk": options}}}
        assert "'flamingo' is unknown; choose from hdf5, fits" in self.problem(disk, overlay)

    def test_shear_by_another_name(self, disk):
        options = disk["simulate"]["tiers"].pop("shells_on_disk")
        shear = {"class": "mflens.simulate.on_disk.ShearOnDisk", **options}
        disk = merge(disk, {"simulate": {"tiers": {"mine": shear}}}) | {"ladder": ["lpt", "mine"]}
        survey = {"simulate": {"survey": {"nuisances": {"A_IA": 1.0}}}}
        assert "the maps of mine are lensed already" in self.problem(disk, survey)
        other = {"simulate": {"tiers": {"mine": {"format": "flamingo"}}}}
        assert "'flamingo' is unknown; choose from hdf5, fits" in self.problem(disk, other)

    def test_sims_may_have_another_amplitude_than_the_table_names(self, disk):
        amplitude = disk["theory"]["parameters"]
        amplitude |= {"sigma_8": None, "S_8": {"prior": "uniform", "min": 0.1, "max": 2.0}}
        check_config(disk)

    def test_prior_and_numbers(self, disk):
        narrow = {"theory": {"parameters": {"Omega_m": {"max": 0.3}}}}
        assert "Omega_m" in self.problem(disk, narrow)
        assert "widen the prior" in self.problem(disk, narrow)
        more = {"simulate": {"sims": {"test": 13}}}
        assert "needs 8 sims of shells_on_disk, but 7" in self.problem(disk, more)

    def test_misspelt_option_of_a_named_class(self, disk):
        options = disk["simulate"]["tiers"]["shells_on_disk"]
        named = {"class": "mflens.simulate.on_disk.ShellsOnDisk", **options, "pth": "x"}
        message = self.problem(disk, {"simulate": {"tiers": {"dark": named}}})
        assert "simulate.tiers.dark.pth" in message
        assert "'path'" in message
