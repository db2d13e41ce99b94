"""Source redshift distributions: files of surveys, and how they are cut, summed up and reached."""

import gzip
import logging

import glass
import numpy as np
import pytest
from astropy.cosmology import FlatLambdaCDM, Flatw0waCDM, z_at_value
from scipy import stats
from scipy.integrate import quad

from configs import merge, read_config, resolved_config
from mflens.errors import ConfigError
from mflens.files.redshift_files import read_redshifts
from mflens.run.check import check_config
from mflens.run.plan import Plan
from mflens.run.resolve import resolve
from mflens.run.survey_summary import in_shells, observed_area, summarise_survey
from mflens.simulate.survey.depth import corners, redshift_at, shells_needed
from mflens.simulate.survey.footprint import observed_fraction
from mflens.simulate.survey.redshifts import cumulative, read_sources, source_distributions
from surveys import (
    DES_MEANS,
    KIDS_MEANS,
    bump,
    write_des,
    write_euclid,
    write_kids,
    write_two_point,
)

FILE = {"kind": "file", "z_max": "auto", "z_column": "middle", "extension": "NZ_SOURCE"}
SMAIL = {
    "kind": "smail", "z_0": 0.64, "alpha": 2.0, "beta": 1.5, "sigma_z": 0.05, "z_max": 1.5,
    "edges": [0.0, 0.7, 1.5],
}  # fmt: skip
Z = np.arange(0.005, 3, 0.01)
PRIORS = {"prior": "normal", "mean": 0.0, "sd": 0.01, "infer": False}


def read(path, **options):
    return read_redshifts({**FILE, "path": path, **options})


def refusal(path, **options):
    with pytest.raises(ConfigError) as caught:
        read(path, **options)
    message = str(caught.value)
    assert message.startswith("simulate.survey.redshifts.") and "\n" not in message
    assert message[-1] in ".?"
    return message


def table(folder, *bins, z=Z, name="nz.txt", **options):
    np.savetxt(folder / name, np.column_stack([z, *bins]), **options)
    return str(folder / name)


class TestFormulas:
    def test_smail_is_that_of_glass(self):
        z, n = source_distributions(SMAIL)
        mode = 0.64 * (2 / 1.5) ** (1 / 1.5)
        expected = glass.tomo_nz_gausserr(
            z, glass.smail_nz(z, mode, 2.0, 1.5), 0.05, [(0.0, 0.7), (0.7, 1.5)]
        )
        expected /= np.trapezoid(expected, z)[:, None]
        np.testing.assert_allclose(n, expected, rtol=1e-12, atol=1e-15)

    @pytest.mark.parametrize(
        ("options", "end"),
        [
            (SMAIL | {"z_max": "auto"}, 1.5),
            ({"kind": "gaussian", "mean": [0.5, 0.9], "sd": [0.3, 0.1], "z_max": "auto"}, 1.7),
        ],
    )
    def test_where_auto_ends(self, options, end):
        assert source_distributions(options)[0][-1] == pytest.approx(end)


class TestFiles:
    def test_kids(self, tmp_path):
        paths = write_kids(tmp_path)
        sources = read(paths, z_column="lower")
        right = np.array(KIDS_MEANS)
        right[4] = 0.995 * right[4] + 0.005 * 3.625
        assert right[4] - KIDS_MEANS[4] == pytest.approx(0.013, abs=5e-4)
        np.testing.assert_allclose(sources.mean, right, atol=5e-4)
        means = np.trapezoid(sources.z * sources.n, sources.z) / np.trapezoid(sources.n, sources.z)
        np.testing.assert_allclose(means, right, atol=5e-4)
        # all there is ends with the noise
        assert sources.deepest.max() == pytest.approx(3.675)
        message = refusal(paths, z_column="lower", z_max=3.0)
        assert "z_max: 3 leaves out 0.5 % of bin 5" in message and "TOMO5" in message
        assert "from 0.9972 to 0.9840" in message and "auto" in message and "3.6" in message

    def test_intervals_begin_and_end_at_their_edges(self, tmp_path):
        """A histogram: three intervals with 1, 2 and 1 per cent of all, from 0 on."""
        (tmp_path / "a.asc").write_text("0.0 1 0.1\n0.1 2 0.1\n0.2 1 0.1\n")
        (tmp_path / "b.asc").write_text("0.0 0 0.1\n0.1 1 0.1\n0.2 1 0.1\n")
        sources = read([str(tmp_path / name) for name in ("a.asc", "b.asc")], z_column="lower")
        np.testing.assert_allclose(sources.z, [0, 0.05, 0.15, 0.25, 0.3], atol=1e-12)
        np.testing.assert_allclose(np.trapezoid(sources.n, sources.z), [0.4, 0.2])
        assert sources.mean[0] == pytest.approx(0.15)

    def test_des(self, tmp_path, caplog):
        with caplog.at_level(logging.INFO):
            sources = read(write_des(tmp_path))
        np.testing.assert_allclose(sources.mean, DES_MEANS, atol=5e-4)
        assert np.all(sources.n >= 0)
        (note,) = sources.notes
        assert "bin 1" in note and "below zero at 12 redshifts, by 0.0004 of the bin" in note
        assert note in caplog.text

    def test_euclid(self, tmp_path):
        sources = read(write_euclid(tmp_path))

        def moment(p, low, high):
            return quad(lambda z: z ** (2 + p) * np.exp(-((z / 0.636) ** 1.5)), low, high)[0]

        right = moment(1, 1.385, 2.5) / moment(0, 1.385, 2.5)
        assert sources.mean[5] == pytest.approx(right, abs=2e-3)
        assert sources.deepest == pytest.approx([0.515, 0.713, 0.896, 1.102, 1.385, 2.5], abs=5e-3)

    @pytest.mark.parametrize("extension", ["nz_source", "NZ_SOURCE", "NZ_source"])
    @pytest.mark.parametrize("without", [(), ("Z_MID",), ("Z_LOW", "Z_HIGH"), ("Z_LOW",)])
    def test_columns_of_two_point_files(self, tmp_path, extension, without):
        bins = [bump(Z, mean, 0.05) for mean in (0.3, 0.5, 0.7)]
        path = write_two_point(tmp_path / "2pt.FITS", bins, Z, extension=extension, without=without)
        np.testing.assert_allclose(read(path).mean, [0.3, 0.5, 0.7], atol=1e-4)
        # from high to low
        path = write_two_point(
            tmp_path / "b.fits", [n[::-1] for n in bins], Z[::-1], without=without
        )
        np.testing.assert_allclose(read(path).mean, [0.3, 0.5, 0.7], atol=1e-4)

    def test_tables_of_two_point_files_that_do_not_fit(self, tmp_path):
        path = write_two_point(tmp_path / "2pt.fits", [bump(Z, 0.3, 0.1)], Z)
        assert "no table 'nz_shear'; name one of NZ_LENS, NZ_SOUR" in refusal(
            path, extension="nz_shear"
        )
        assert "needs Z_MID" in refusal(path, extension="nz_lens")
        path = write_two_point(tmp_path / "a.fits", [Z, Z], Z, without=["BIN1"])
        assert "BIN1, BIN2" in refusal(path)
        path = write_two_point(tmp_path / "b.fits", [Z], Z, without=["Z_MID", "Z_LOW"])
        assert "needs Z_MID" in refusal(path)

    def test_bins_are_in_the_order_of_their_numbers(self, tmp_path):
        """BIN10 is behind BIN9, not behind BIN1."""
        means = 0.1 + 0.1 * np.arange(11)
        path = write_two_point(tmp_path / "2pt.fits", [bump(Z, m, 0.02) for m in means], Z)
        np.testing.assert_allclose(read(path).mean, means, atol=1e-4)

    @pytest.mark.parametrize(
        "layout",
        [
            {"header": "z n_1 n_2\nnbin = 2"},
            {"header": "z,n_1,n_2", "comments": "", "delimiter": ","},
            {"header": "z\tn1\tn2", "comments": "", "delimiter": "\t"},
            {"delimiter": "; ", "fmt": "%.6e"},
            {"name": "nz.csv", "delimiter": ",", "encoding": "utf-8-sig"},
            {"name": "nz.txt.gz"},
        ],
    )
    @pytest.mark.parametrize("order", [1, -1])
    def test_layouts_of_text(self, tmp_path, layout, order):
        bins = [bump(Z, mean, 0.1)[::order] for mean in (0.5, 0.9)]
        path = table(tmp_path, *bins, z=Z[::order], **layout)
        np.testing.assert_allclose(read(path).mean, [0.5, 0.9], atol=1e-4)

    def test_steps_of_any_size(self, tmp_path):
        z = np.concatenate([np.arange(0, 1, 0.02), np.arange(1, 4, 0.05)])
        path = table(tmp_path, bump(z, 0.5, 0.1), bump(z, 0.9, 0.15), z=z)
        np.testing.assert_allclose(read(path).mean, [0.5, 0.9], atol=2e-3)

    def test_files_with_redshifts_of_their_own(self, tmp_path):
        """Each is linear between its own: a triangle stays one."""
        (tmp_path / "a.asc").write_text("0.1 0\n0.3 1\n0.5 0\n")
        (tmp_path / "b.asc").write_text("0.6 0\n0.4 0.5\n0.2 0\n")
        (tmp_path / "c.asc").write_text("# z n err\n0.45 0 1\n0.55 1 1\n0.65 0 1\n")
        paths = [str(tmp_path / f"{name}.asc") for name in "abc"]
        sources = read(paths)
        np.testing.assert_allclose(sources.mean, [0.3, 0.4, 0.55], rtol=0.02)
        np.testing.assert_allclose(np.trapezoid(sources.n, sources.z), [0.2, 0.1, 0.1])

    def test_a_tail_is_judged_by_the_mean_that_it_moves(self, tmp_path):
        """0.95 % of a bin at z = 2.6 moves its mean by 0.02, 0.1 % at z = 1.2 by 0.0007."""
        n = 0.9905 * bump(Z, 0.5, 0.1) + 0.0095 * bump(Z, 2.6, 0.05)
        path = table(tmp_path, n)
        assert read(path).mean[0] == pytest.approx(0.52, abs=1e-4)
        message = refusal(path, z_max=2.0)
        assert "0.95 %" in message and "0.5200 to 0.5000" in message
        path = table(tmp_path, 0.999 * bump(Z, 0.5, 0.1) + 0.001 * bump(Z, 1.2, 0.02))
        kept = read(path, z_max=1.05)
        assert kept.lost == pytest.approx(0.001, rel=1e-2) and kept.z[-1] <= 1.05
        assert kept.mean == pytest.approx(0.5007, abs=1e-5)

    def test_what_auto_leaves_out_does_not_count(self, tmp_path):
        """A Gaussian has a tail in every row; the file's own end is z = 3."""
        sources = read(table(tmp_path, bump(Z, 0.5, 0.1)))
        assert 0.8 < sources.z[-1] < 1.0
        means = np.trapezoid(sources.z * sources.n, sources.z) / np.trapezoid(sources.n, sources.z)
        assert means == pytest.approx(0.5, abs=1e-4)
        assert 0 < sources.lost < 1e-3

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("0.1 1 1\n0.5 nan 1\n0.9 0 1\n", ["bin 1", "nan", "z = 0.5"]),
            ("0.1 1 1\n0.5 1 -0.2\n0.9 0 1\n", ["bin 2", "-0.2", "z = 0.5", "20 %"]),
            ("0.1 1 1\n0.5 1 -0.02\n0.9 0 1\n", ["bin 2", "-0.02", "2 %", "1 %"]),
            ("0.1 -1 1\n0.5 -1 1\n", ["bin 1", "no sources"]),
            ("0.1 1 0\n0.5 1 0\n0.9 1 0\n", ["bin 2", "no sources"]),
            ("0.1 0 1\n0.5 1 1\n0.9 1 0\n", ["bin 2", "order of depth"]),
            ("0.5 1 1\n0.1 1 1\n0.3 1 1\n", ["increase"]),
            ("0.1 1 1\n0.1 1 1\n0.3 1 1\n", ["increase"]),
            ("-0.1 1 1\n0.1 1 1\n", ["from 0"]),
            ("0.1\n0.2\n", ["columns"]),
            ("z n\n", ["0 rows of numbers"]),
            ("", ["0 rows of numbers"]),
            ("0.1 1 1\n0.2 1\n", ["no table of numbers"]),
            ("0.1 1 1\n0.2 one 1\n", ["no table of numbers", "one"]),
            ("0.1 1e308 1\n0.5 1e308 1\n9.0 1e308 1\n", ["too large"]),
        ],
    )
    def test_bad_tables_are_refused(self, tmp_path, text, words):
        (tmp_path / "nz.txt").write_text(text)
        message = refusal(str(tmp_path / "nz.txt"))
        assert all(word in message for word in ["nz.txt", *words]), message

    def test_a_bad_file_of_a_list_is_named(self, tmp_path):
        paths = write_kids(tmp_path)
        (tmp_path / "bad.asc").write_text("0.1 1\n0.2 -3\n")
        assert "bin 3 in" in refusal([*paths[:2], str(tmp_path / "bad.asc")], z_column="lower")
        assert "bad.asc" in refusal([*paths[:2], str(tmp_path / "bad.asc")], z_column="lower")
        assert "TOMO1" in refusal([paths[1], paths[0]], z_column="lower")

    def test_files_that_are_not_there(self, tmp_path):
        (tmp_path / "text.fits").write_text("0.1 1\n")
        assert "no FITS file" in refusal(str(tmp_path / "text.fits"))
        (tmp_path / "cut.txt.gz").write_bytes(gzip.compress(b"0.1 1\n" * 99)[:20])
        assert "no table of numbers" in refusal(str(tmp_path / "cut.txt.gz"))
        for path in ("no.txt", "no.fits", ["no.asc"]):
            assert "there is no file 'no." in refusal(path)


class TestLists:
    def test_every_file_counts(self, config, tmp_path):
        paths = write_kids(tmp_path)
        config["simulate"]["survey"]["redshifts"] |= {"kind": "file", "path": paths}
        assert Plan(config).survey_files == paths
        config["simulate"]["survey"]["mask"] = "mask.fits"
        assert Plan(config).survey_files == ["mask.fits", *paths]


class TestCumulative:
    def test_a_triangle_in_closed_form(self):
        z, n = np.array([0.0, 1.0, 3.0]), np.array([[0.0, 1.0, 0.0], [1.0, 1.0, 1.0]])
        at = np.array([-1.0, 0.0, 0.5, 1.0, 2.0, 3.0, 4.0])
        right = [[0, 0, 0.125, 0.5, 1.25, 1.5, 1.5], [0, 0, 0.5, 1, 2, 3, 3]]
        np.testing.assert_allclose(cumulative(z, n, at), right)

    def test_a_narrow_gaussian(self):
        z = np.linspace(0, 1, 2001)
        shares = np.diff(cumulative(z, stats.norm.pdf(z, 0.4, 0.03), np.linspace(0, 1, 18)))
        right = np.diff(stats.norm.cdf(np.linspace(0, 1, 18), 0.4, 0.03))
        np.testing.assert_allclose(shares, right, atol=1e-5)


class TestNumberOfShells:
    @pytest.mark.parametrize(
        ("overlays", "n_shells"),
        [([], 18), (["smoke"], 9), (["kids1000"], 20), (["desy3"], 22), (["euclid_dr1"], 25)],
    )
    def test_of_the_shipped_configs(self, overlays, n_shells):
        assert resolved_config(*overlays)["theory"]["shells"]["n_shells"] == n_shells

    @pytest.mark.parametrize(
        ("prior", "cosmology"),
        [
            ({}, FlatLambdaCDM(100, 0.15)),
            ({"Omega_m": {"prior": "uniform", "min": 0.1, "max": 0.9}}, FlatLambdaCDM(100, 0.1)),
            ({"Omega_m": {"prior": "normal", "mean": 0.3, "sd": 0.02}}, FlatLambdaCDM(100, 0.22)),
            (
                {
                    "w0": {"prior": "uniform", "min": -1.5, "max": -0.5},
                    "wa": {"prior": "uniform", "min": -1.0, "max": 0.3},
                },
                Flatw0waCDM(100, 0.15, w0=-1.5, wa=-1.0),
            ),
        ],
    )
    @pytest.mark.parametrize("z", [0.5, 1.5, 3.0])
    def test_the_last_shell_holds_the_deepest_source(self, prior, cosmology, z):
        theory = read_config()["theory"]
        theory["parameters"] |= prior
        distance = cosmology.comoving_distance(z).value
        n = shells_needed(z, theory)
        assert (n - 1) * 200 < distance <= n * 200

    def test_nuisances_move_the_sources(self, tmp_path):
        """The deep bin ends at 1, widened by 20 per cent about its mean of 0.8 and shifted."""
        path = table(tmp_path, [0, 1, 0, 0, 0], [0, 0, 0, 1, 0], z=[0.2, 0.4, 0.6, 0.8, 1.0])
        survey = {"redshifts": {"kind": "file", "path": path}}
        survey["nuisances"] = {"delta_z_1": PRIORS | {"sd": 0.1}, "stretch_2": 1.2}
        survey["nuisances"] |= {"delta_z_2": PRIORS}
        config = merge(read_config(), {"simulate": {"survey": survey}})
        check_config(config)
        resolve(config)
        # bin 1 ends at 0.6 + 0.4, bin 2 at 0.8 + 1.2 * 0.2 + 0.04
        end = FlatLambdaCDM(100, 0.15).comoving_distance(1.08).value
        assert config["theory"]["shells"]["n_shells"] == np.ceil(end / 200)
        assert "sources to z = 1.08" in summarise_survey(config)

    @pytest.mark.parametrize("n_shells", ["auto", 22, 25])
    def test_a_wide_prior_takes_them(self, n_shells):
        wide = {"Omega_m": {"prior": "uniform", "min": 0.1, "max": 0.9}}
        overlay = {"theory": {"parameters": wide, "shells": {"n_shells": n_shells}}}
        check_config(merge(read_config("smoke", "desy3"), overlay))


class TestSummary:
    @pytest.mark.parametrize(("mask", "nside"), [("octant", 16), ("full", 8), ("octant", 64)])
    def test_area_of_octant_and_sky(self, mask, nside):
        fraction = observed_fraction(mask, nside)
        area, n_pixels = observed_area({"mask": mask}, nside)
        assert n_pixels == np.count_nonzero(fraction)
        assert area == pytest.approx(41252.96 * n_pixels / fraction.size)

    @pytest.mark.parametrize("nside", [64, 512])
    def test_area_of_caps(self, nside):
        caps = [{"lon_deg": lon, "lat_deg": 40.0, "area_deg2": 900.0} for lon in (0, 200)]
        survey = {"mask": {"caps": caps}, "min_coverage": 0.5}
        area, n_pixels = observed_area(survey, nside)
        assert area == pytest.approx(1800, rel=0.01)
        assert n_pixels == pytest.approx(1800 / 41252.96 * 12 * nside**2, rel=0.01)

    def test_shells_hold_what_is_in_them(self):
        """Of a box from z = 0 to 2 the shells up to 1 hold half."""
        lcdm = FlatLambdaCDM(100, 0.3)
        end = lcdm.comoving_distance(1.0).value
        n = np.full((1, 3), 0.5)
        sources = read_sources(SMAIL)
        sources = type(sources)(np.array([0.0, 1.0, 2.0]), n, np.ones(1), np.zeros(1))
        corner = corners({"Omega_m": 0.3}).centre
        mean, missed = in_shells(sources, {"n_shells": 40, "thickness_mpc_h": end / 40}, corner)
        assert missed == pytest.approx(0.5, abs=1e-5)
        assert mean == pytest.approx(0.5, abs=1e-4)
        z = z_at_value(lcdm.comoving_distance, end * lcdm.comoving_distance(1).unit / 2).value
        assert redshift_at(end / 2, corner) == pytest.approx(z, rel=1e-4)

    def test_of_a_survey(self, tmp_path):
        redshifts = {"kind": "file", "path": write_des(tmp_path)}
        config = merge(
            read_config("smoke", "desy3"), {"simulate": {"survey": {"redshifts": redshifts}}}
        )
        check_config(config)
        resolve(config)
        title, header, *rows = summarise_survey(config).splitlines()
        assert "Omega_m = 0.3" in title and "sigma_e" in header
        for row, mean, n_gal, sigma in zip(
            rows,
            DES_MEANS,
            (1.476, 1.479, 1.484, 1.461),
            (0.243, 0.262, 0.259, 0.301),
            strict=False,
        ):
            number, read_mean, held, lost, _, density, sigma_e = row.split()
            assert float(read_mean) == pytest.approx(mean, abs=5e-4)
            assert float(held) == pytest.approx(mean, abs=6e-4)
            assert float(lost) < 0.1
            assert (float(density), float(sigma_e)) == (n_gal, sigma)
        note, area, shells = rows[4:]
        assert "below zero at 12" in note
        assert "deg2 in 308 pixels of nside 16" in area
        assert "at Omega_m = 0.15" in shells and "at Omega_m = 0.45" in shells
        end = config["theory"]["shells"]["n_shells"] * config["theory"]["shells"]["thickness_mpc_h"]
        far = z_at_value(
            FlatLambdaCDM(100, 0.15).comoving_distance,
            end * 1.0 * FlatLambdaCDM(100, 0.15).comoving_distance(1).unit,
        )
        assert f"to z = {float(far):.2f} at" in shells


@pytest.mark.parametrize("edge", [20.5, 2147483648.0])
def test_sources_beyond_what_is_followed_are_refused_before_they_fill_the_memory(edge):
    options = {"kind": "smail", "z_0": 0.64, "alpha": 2.0, "beta": 1.5, "sigma_z": 0.05}
    with pytest.raises(ConfigError, match=r"redshifts.z_max: sources reach z = .* lower"):
        read_sources({**options, "edges": [0.0, edge], "z_max": "auto"})
