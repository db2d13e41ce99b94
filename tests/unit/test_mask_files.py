"""Masks as surveys publish them: what says which pixels a file has, and in which order."""

import gzip
import logging
import shutil
from pathlib import Path

import healpy
import numpy as np
import pytest
from astropy.io import fits

from configs import merge
from mflens.errors import ConfigError
from mflens.files.mask_files import read_mask
from mflens.run.check import check_config
from mflens.run.needs import SimCost
from mflens.run.plan import Plan
from mflens.simulate.survey.footprint import observed_fraction

NSIDE = 16
N_PIX = 12 * NSIDE**2
CENTRE = healpy.ang2vec(40.0, 25.0, lonlat=True)
INSIDE = healpy.query_disc(NSIDE, CENTRE, np.radians(20), nest=True)
MASK = np.zeros(N_PIX)  # NESTED
MASK[INSIDE] = np.random.default_rng(1).uniform(0.2, 1.0, INSIDE.size)
RING = MASK[healpy.ring2nest(NSIDE, np.arange(N_PIX))]


def column(name, values, letter="D", width=1, **more):
    values = np.asarray(values)
    values = values.reshape(-1, width) if width > 1 else values
    return fits.Column(name, f"{width if width > 1 else ''}{letter}", array=values, **more)


def write(path: Path, *tables, primary=()) -> str:
    """Write tables, each a list of columns and keywords, behind an empty primary."""
    hdus = [fits.PrimaryHDU()]
    hdus[0].header.update(dict(primary))
    for columns, keywords in tables:
        hdus.append(fits.BinTableHDU.from_columns(columns))
        hdus[-1].header.update(keywords)
    fits.HDUList(hdus).writeto(path)
    return str(path)


def problem(path, nside=NSIDE, name=None) -> str:
    with pytest.raises(ConfigError) as caught:
        read_mask(path, nside, name)
    message = str(caught.value)
    assert message.startswith("simulate.survey.mask") and "\n" not in message
    assert Path(path).name in message and message.endswith(".")
    return message


class TestFullSky:
    @pytest.mark.parametrize(
        "said", ["NESTED", "nested", "NEST", "Nest", "NESTED   ", "RING", "ring"]
    )
    @pytest.mark.parametrize("width", [1, 1024])
    def test_orderings_as_they_are_written(self, tmp_path, said, width):
        values = RING if said.lower().startswith("ring") else MASK
        keywords = {"ORDERING": said, "NSIDE": NSIDE}
        path = write(tmp_path / "a.fits", ([column("T", values, width=width)], keywords))
        np.testing.assert_array_equal(read_mask(path, NSIDE)[0], MASK)

    def test_without_ordering_it_is_ring_if_it_looks_so(self, tmp_path):
        path = write(tmp_path / "a.fits", ([column("T", RING)], {"NSIDE": NSIDE}))
        fraction, notes = read_mask(path, NSIDE)
        np.testing.assert_array_equal(fraction, MASK)
        assert any("ORDERING" in note and "RING" in note for note in notes)

    @pytest.mark.parametrize("nside", [16, 64])
    @pytest.mark.parametrize("part", ["cap", "band", "plane", "octant", "two caps", "full"])
    def test_the_look_of_an_ordering(self, tmp_path, nside, part):
        lon, lat = healpy.pix2ang(nside, np.arange(12 * nside**2), lonlat=True)
        parts = {
            "cap": healpy.rotator.angdist([30, 40], [lon, lat], lonlat=True) < 0.5,
            "band": np.abs(lat + 50) < 10,
            "plane": np.abs(lat) > 20,
            "octant": (lon < 90) & (lat > 0),
            "two caps": (healpy.rotator.angdist([180, 0], [lon, lat], lonlat=True) < 0.2)
            | (healpy.rotator.angdist([0, -31], [lon, lat], lonlat=True) < 0.2),
            "full": lat > -91,
        }
        ring = parts[part].astype(float)
        nested = healpy.reorder(ring, r2n=True)
        path = write(tmp_path / "ring.fits", ([column("T", ring)], {"NSIDE": nside}))
        np.testing.assert_array_equal(read_mask(path, nside)[0], nested)
        path = write(tmp_path / "nested.fits", ([column("T", nested)], {"NSIDE": nside}))
        if part == "full":
            np.testing.assert_array_equal(read_mask(path, nside)[0], nested)
        else:
            assert "ORDERING" in problem(path, nside)

    def test_unknown_ordering(self, tmp_path):
        keywords = {"ORDERING": "NUNIQ", "NSIDE": NSIDE}
        assert "'NUNIQ'" in problem(write(tmp_path / "a.fits", ([column("T", MASK)], keywords)))

    def test_nside_is_missing_or_another(self, tmp_path):
        path = write(tmp_path / "a.fits", ([column("T", RING)], {"ORDERING": "RING"}))
        np.testing.assert_array_equal(read_mask(path, NSIDE)[0], MASK)
        keywords = {"ORDERING": "RING", "NSIDE": 32}
        message = problem(write(tmp_path / "b.fits", ([column("T", RING)], keywords)))
        assert "nside 16" in message and "NSIDE is 32" in message

    def test_length_of_no_sky(self, tmp_path):
        keywords = {"ORDERING": "RING", "NSIDE": NSIDE}
        path = write(tmp_path / "a.fits", ([column("T", RING[:-5])], keywords))
        assert "3067 values" in problem(path) and "INDXSCHM" in problem(path)

    @pytest.mark.parametrize(("letter", "width"), [("L", 1), ("B", 1), ("I", 1024), ("J", 1)])
    def test_logical_and_whole_numbers(self, tmp_path, letter, width):
        values = (RING > 0).astype(bool if letter == "L" else int)
        keywords = {"ORDERING": "RING", "NSIDE": NSIDE}
        path = write(tmp_path / "a.fits", ([column("T", values, letter, width)], keywords))
        np.testing.assert_array_equal(read_mask(path, NSIDE)[0], MASK > 0)

    def test_rounding_is_cut_off_and_more_is_not(self, tmp_path):
        keywords = {"ORDERING": "NESTED", "NSIDE": NSIDE}
        values = MASK.copy()
        values[:4], expected = [1.0000001, -1e-9, 1.0005, -1e-4], MASK.copy()
        expected[:4] = [1, 0, 1, 0]
        path = write(tmp_path / "a.fits", ([column("T", values)], keywords))
        np.testing.assert_array_equal(read_mask(path, NSIDE)[0], expected)
        for i, value in enumerate([1.5, -0.3, 100.0, np.nan, np.inf]):
            values[3] = value
            message = problem(write(tmp_path / f"{i}.fits", ([column("T", values)], keywords)))
            assert str(value) in message and "1 pixel" in message

    @pytest.mark.parametrize(
        ("letter", "mark", "keywords", "more"),
        [
            ("D", healpy.UNSEEN, {}, {}),
            ("E", healpy.UNSEEN, {}, {}),
            ("E", -99.0, {"BAD_DATA": -99.0}, {}),
            ("E", -1.6375e30, {"BAD_DATA": -1.6375e30}, {}),
            ("I", -32768, {}, {"null": -32768}),
        ],
    )
    def test_marks_of_pixels_without_value(self, tmp_path, letter, mark, keywords, more):
        values = np.where(MASK > 0, 1.0, mark)
        keywords = {"ORDERING": "NESTED", "NSIDE": NSIDE, **keywords}
        path = write(tmp_path / "a.fits", ([column("T", values, letter, **more)], keywords))
        np.testing.assert_array_equal(read_mask(path, NSIDE)[0], MASK > 0)

    def test_compressed(self, tmp_path):
        path = write(
            tmp_path / "a.fits", ([column("T", RING)], {"ORDERING": "RING", "NSIDE": NSIDE})
        )
        with open(path, "rb") as plain, gzip.open(f"{path}.gz", "wb") as packed:
            shutil.copyfileobj(plain, packed)
        np.testing.assert_array_equal(read_mask(f"{path}.gz", NSIDE)[0], MASK)


class TestLists:
    @pytest.mark.parametrize("name", ["HPIX", "PIXEL", "ipix", "hpix_4096", "Pixel"])
    @pytest.mark.parametrize("ordering", ["NESTED", "RING"])
    @pytest.mark.parametrize("letter", ["J", "K", "D"])
    def test_lists_of_pixels(self, tmp_path, name, ordering, letter):
        pixel = INSIDE if ordering == "NESTED" else healpy.nest2ring(NSIDE, INSIDE)
        keywords = {"ORDERING": ordering, "NSIDE": NSIDE}
        if name == "hpix_4096":  # a name that nobody knows
            keywords |= {"INDXSCHM": "EXPLICIT", "OBJECT": "PARTIAL"}
        columns = [column(name, pixel, letter), column("FRACGOOD", MASK[INSIDE])]
        path = write(tmp_path / "a.fits", (columns, keywords))
        np.testing.assert_array_equal(read_mask(path, NSIDE)[0], MASK)

    @pytest.mark.parametrize("nest", [True, False])
    def test_partial_maps_of_healpy(self, tmp_path, nest):
        values = np.where(MASK > 0, MASK, healpy.UNSEEN)
        values = values if nest else healpy.reorder(values, n2r=True)
        path = str(tmp_path / "a.fits")
        healpy.write_map(path, values, nest=nest, partial=True, dtype=np.float64)
        np.testing.assert_array_equal(read_mask(path, NSIDE)[0], MASK)

    def test_pixels_alone_are_observed_in_full(self, tmp_path):
        keywords = {"ORDERING": "NESTED", "NSIDE": NSIDE}
        path = write(tmp_path / "a.fits", ([column("HPIX", INSIDE, "K")], keywords))
        fraction, notes = read_mask(path, NSIDE)
        np.testing.assert_array_equal(fraction, MASK > 0)
        assert "all observed in full" in notes[0]

    @pytest.mark.parametrize(
        ("change", "word"),
        [
            ({"NSIDE": None}, "NSIDE is missing"),
            ({"NSIDE": 17}, "NSIDE is 17"),
            ({"NSIDE": 4}, "no pixel of nside 4"),
            ({"ORDERING": None}, "ORDERING"),
        ],
    )
    def test_what_a_list_must_say(self, tmp_path, change, word):
        keywords = {"ORDERING": "NESTED", "NSIDE": NSIDE} | change
        keywords = {key: value for key, value in keywords.items() if value is not None}
        columns = [column("HPIX", INSIDE, "J"), column("FRACGOOD", MASK[INSIDE])]
        assert word in problem(write(tmp_path / "a.fits", (columns, keywords)))

    def test_a_pixel_twice_and_a_negative_one(self, tmp_path):
        keywords = {"ORDERING": "NESTED", "NSIDE": NSIDE}
        for name, pixel, word in (("a", [5, 6, 5], "more than once"), ("b", [5, -1, 7], "-1")):
            columns = [column("PIXEL", pixel, "J"), column("SIGNAL", [1.0, 1.0, 1.0])]
            assert word in problem(write(tmp_path / f"{name}.fits", (columns, keywords)))

    def test_a_list_finer_than_memory_holds_is_averaged(self, tmp_path):
        """A quarter of one pixel, at the resolution of Euclid's masks: 3 10^9 pixels in all."""
        fine, pixel = 16384, 1234
        shift = (fine // NSIDE) ** 2
        children = pixel * shift + np.arange(shift // 2)
        columns = [column("PIXEL", children, "K"), column("WEIGHT", np.full(children.size, 0.5))]
        keywords = {"ORDERING": "NESTED", "NSIDE": fine, "INDXSCHM": "EXPLICIT"}
        fraction, notes = read_mask(write(tmp_path / "a.fits", (columns, keywords)), NSIDE)
        assert np.flatnonzero(fraction).tolist() == [pixel]
        assert fraction[pixel] == pytest.approx(0.25)
        assert "nside 16384, averaged to simulate.nside = 16" in notes[0]


class TestResolution:
    def test_finer_masks_are_averaged_by_area(self, tmp_path):
        path = write(
            tmp_path / "a.fits", ([column("T", RING)], {"ORDERING": "RING", "NSIDE": NSIDE})
        )
        fraction, notes = read_mask(path, 4)
        np.testing.assert_allclose(fraction, MASK.reshape(-1, 16).mean(1), rtol=1e-12)
        expected = healpy.ud_grade(MASK, 4, order_in="NESTED", order_out="NESTED", pess=False)
        np.testing.assert_allclose(fraction, expected, rtol=1e-12)
        assert "averaged to simulate.nside = 4" in notes[0]

    def test_coarser_masks_are_repeated(self, tmp_path):
        path = write(
            tmp_path / "a.fits", ([column("T", RING)], {"ORDERING": "RING", "NSIDE": NSIDE})
        )
        fraction, notes = read_mask(path, 64)
        np.testing.assert_array_equal(fraction, np.repeat(MASK, 16))
        assert "repeated" in notes[0] and "simulate.nside = 64" in notes[0]

    def test_what_is_not_seen_counts_as_not_observed(self, tmp_path):
        """Unlike in `ud_grade`, which leaves such pixels out of the mean."""
        values = np.where(MASK > 0, 1.0, healpy.UNSEEN)
        path = str(tmp_path / "a.fits")
        healpy.write_map(path, values, nest=True, dtype=np.float32)
        np.testing.assert_allclose(read_mask(path, 4)[0], (MASK > 0).reshape(-1, 16).mean(1))


class TestColumns:
    KEYWORDS = {"ORDERING": "NESTED", "NSIDE": NSIDE}
    OTHER = np.linspace(0, 1, N_PIX)

    def test_the_one_that_is_named(self, tmp_path):
        columns = [column("STARDENS", self.OTHER), column("MASK", MASK)]
        path = write(tmp_path / "a.fits", (columns, self.KEYWORDS))
        message = problem(path)
        assert "STARDENS, MASK" in message and "column: ..." in message
        for name in ("MASK", "mask"):
            np.testing.assert_array_equal(read_mask(path, NSIDE, name)[0], MASK)
        np.testing.assert_array_equal(read_mask(path, NSIDE, "STARDENS")[0], self.OTHER)
        assert "mask.column: 'WEIGHT' is no column" in problem(path, name="WEIGHT")

    def test_cut_sky_maps_of_the_standard(self, tmp_path):
        pixel, n = INSIDE.astype(np.int32), INSIDE.size
        columns = [column("PIXEL", pixel, "J"), column("SIGNAL", MASK[INSIDE])]
        columns += [column("N_OBS", np.ones(n), "J"), column("SERROR", np.ones(n))]
        keywords = self.KEYWORDS | {"INDXSCHM": "EXPLICIT", "OBJECT": "PARTIAL"}
        path = write(tmp_path / "a.fits", (columns, keywords))
        assert "SIGNAL, N_OBS, SERROR" in problem(path)
        np.testing.assert_array_equal(read_mask(path, NSIDE, "SIGNAL")[0], MASK)

    def test_text_and_other_tables_are_no_masks(self, tmp_path):
        catalogue = [column("RA", [1.0, 2.0, 3.0]), column("NAME", np.array(["a", "b", "c"]), "A")]
        columns = [column("FLAG", np.full(N_PIX, "ok"), "2A"), column("MASK", MASK)]
        path = write(tmp_path / "a.fits", (catalogue, {}), (columns, self.KEYWORDS))
        np.testing.assert_array_equal(read_mask(path, NSIDE)[0], MASK)

    def test_several_tables(self, tmp_path):
        tables = [([column(name, MASK)], self.KEYWORDS) for name in ("NORTH", "SOUTH")]
        path = write(tmp_path / "a.fits", *tables)
        assert "NORTH, SOUTH" in problem(path)
        np.testing.assert_array_equal(read_mask(path, NSIDE, "SOUTH")[0], MASK)
        path = write(tmp_path / "b.fits", *[([column("MASK", MASK)], self.KEYWORDS)] * 2)
        assert "more than one column" in problem(path, name="MASK")


class TestOtherFiles:
    def test_arrays_images_and_healsparse(self, tmp_path):
        np.save(tmp_path / "a.npy", MASK)
        assert "no HEALPix FITS mask" in problem(str(tmp_path / "a.npy"))
        fits.PrimaryHDU(MASK).writeto(tmp_path / "b.fits")
        assert "holds no table" in problem(str(tmp_path / "b.fits"))
        hdus = [fits.ImageHDU(MASK, name=name) for name in ("COV", "SPARSE")]
        fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(tmp_path / "c.hsp")
        assert "HealSparse" in problem(str(tmp_path / "c.hsp"))

    def test_addresses_are_no_files(self, monkeypatch):
        monkeypatch.setattr("urllib.request.urlopen", None)
        with pytest.raises(ConfigError, match="there is no file 'https://"):
            observed_fraction("https://example.org/mask.fits", NSIDE)

    @pytest.mark.parametrize(
        ("said", "word"),
        [
            ("G", "Galactic"), ("GALACTIC", "Galactic"), ("C", "equatorial"),
            ("ICRS", "equatorial"), ("Equatorial", "equatorial"),
            ("E", "ecliptic"), ("ecliptic", "ecliptic"),
            ("X", "unknown"), (None, "does not say"),
        ],
    )  # fmt: skip
    def test_the_frame_is_told_and_nothing_rotated(self, tmp_path, caplog, said, word):
        keywords = {"ORDERING": "RING", "NSIDE": NSIDE} | ({"COORDSYS": said} if said else {})
        path = write(tmp_path / "a.fits", ([column("T", RING)], keywords))
        with caplog.at_level(logging.INFO):
            np.testing.assert_array_equal(observed_fraction(path, NSIDE), MASK)
        assert any(word in line and "COORDSYS" in line for line in caplog.messages)


class TestConfig:
    def with_mask(self, config, mask):
        return merge(config, {"simulate": {"survey": {"mask": mask}}})

    def test_a_column_of_a_file(self, config, tmp_path):
        columns = [column("STARDENS", 0 * MASK), column("MASK", MASK)]
        path = write(tmp_path / "a.fits", (columns, {"ORDERING": "NESTED", "NSIDE": NSIDE}))
        with pytest.raises(ConfigError, match="STARDENS, MASK"):
            check_config(self.with_mask(config, path))
        named = self.with_mask(config, {"path": path, "column": "MASK"})
        check_config(named)
        assert Plan(named).survey_files == [path]
        assert SimCost(named).sky_fraction() == 1
        with pytest.raises(ConfigError, match="no pixel of at least"):
            check_config(self.with_mask(config, {"path": path, "column": "STARDENS"}))
        # over an overlay with caps, whose mapping Snakemake merges
        caps = {"caps": [{"lon_deg": 0.0, "lat_deg": 40.0, "area_deg2": 1000.0}]}
        with pytest.raises(ConfigError, match="caps and path.*null"):
            check_config(self.with_mask(named, caps))
        check_config(self.with_mask(named, caps | {"path": None, "column": None}))
        check_config(self.with_mask(named, {"caps": None}))

    @pytest.mark.parametrize(
        ("mask", "word"),
        [
            ({}, "neither caps nor path"),
            ({"column": "MASK"}, "neither caps nor path"),
            ({"path": "no.fits"}, "'no.fits'"),
            ({"path": 3}, "simulate.survey.mask.path: 3"),
            ({"file": "a"}, "simulate.survey.mask.file"),
        ],
    )
    def test_what_is_no_mask(self, config, mask, word):
        config["simulate"]["survey"]["mask"] = mask
        with pytest.raises(ConfigError) as caught:
            check_config(config)
        assert word in str(caught.value)
