"""Products carry where they come from; equal jobs leave equal bytes, wherever they run."""

import json
import subprocess
import sys
from importlib.metadata import version
from types import SimpleNamespace

import h5py
import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from matplotlib.figure import Figure
from PIL import Image

from configs import merge, read_config
from jobs import Named, job
from mflens.errors import DataError
from mflens.files import io, provenance
from mflens.report.style import save_figure
from mflens.run.check import check_config

ORIGIN = {"config_hash", "seed", "git_commit", "versions"}


def figure() -> Figure:
    made = Figure(figsize=(2, 2))
    made.add_subplot().plot([0, 1], [1, 3])
    return made


def write_all(results, **parts) -> dict[str, bytes]:
    """Write a product of every kind in one job, and return the bytes of all files by path."""
    folder = results / "some_rule"
    with job(results, **parts):
        io.write_hdf5(folder / "a.h5", {"x": np.arange(3.0)}, {"tier": "lpt"})
        io.save_model(folder / "a.pt", {"w": torch.ones(2)}, {"width": 2})
        io.write_table(folder / "a.csv", pd.DataFrame({"x": [1]}))
        io.write_markdown(folder / "a.md", pd.DataFrame({"x": [1]}))
        io.write_json(folder / "a.json", {"x": 1})
        save_figure(figure(), folder / "a.pdf", folder / "a.png")
    files = (path for path in results.rglob("*") if path.is_file())
    return {path.relative_to(results).as_posix(): path.read_bytes() for path in files}


def test_every_kind_has_a_record_that_holds(tmp_path):
    files = write_all(tmp_path, output=[tmp_path / "some_rule/a.h5"])
    products = [name for name in files if not name.startswith("provenance/")]
    assert len(products) == 7
    for name in products:
        record = provenance.read_record(tmp_path / name)
        assert {*ORIGIN, "sha256", "bytes", "rule", "code", "inputs"} <= set(record)
        assert record["sha256"] == provenance.sha256_of(tmp_path / name)
        assert provenance.damage(tmp_path / name, record) == ""
    assert set(files) - set(products) == {f"provenance/{name}.json" for name in products}


def test_binary_kinds_carry_their_origin_in_themselves(tmp_path):
    write_all(tmp_path)
    folder = tmp_path / "some_rule"
    with h5py.File(folder / "a.h5") as file:
        assert set(file.attrs) >= ORIGIN
    assert set(json.loads(Image.open(folder / "a.png").text["Comment"])) == ORIGIN
    assert b"config_hash" in (folder / "a.pdf").read_bytes()
    model = torch.load(folder / "a.pt", weights_only=True)
    assert set(json.loads(model["provenance"])) == ORIGIN


def test_bytes_depend_on_the_config_and_not_on_folder_threads_or_time(tmp_path):
    first = write_all(tmp_path / "one")
    torch.set_num_threads(2)
    assert write_all(tmp_path / "two/three") == first
    torch.set_num_threads(1)
    other = write_all(tmp_path / "other", params=Named(code="abc", width=4))
    changed = {name for name in first if first[name] != other[name]}
    assert {"some_rule/a.h5", "some_rule/a.pt", "some_rule/a.png", "some_rule/a.pdf"} <= changed
    assert {f"provenance/some_rule/a.{kind}.json" for kind in ("csv", "md", "json")} <= changed


def test_records_name_inputs_by_their_checksums(tmp_path):
    write_all(tmp_path / "results")
    results, mine = tmp_path / "results", tmp_path / "sims.csv"
    mine.write_text("file\na\n")
    table, measured = results / "some_rule/a.csv", results / "benchmarks/a.tsv"
    with job(results, rule="next", input=[table, measured, mine]):
        io.write_json(results / "next/b.json", {})
    record = provenance.read_record(results / "next/b.json")
    assert record["inputs"] == {
        "some_rule/a.csv": provenance.sha256_of(table),
        mine.as_posix(): provenance.sha256_of(mine),
    }


LOADED = """
import sys
from importlib import import_module
from mflens.files.provenance import loaded_libraries
for module in sys.argv[1:]:
    import_module(module)
print(*loaded_libraries())
"""


@pytest.mark.parametrize(
    ("modules", "with_", "without"),
    [
        # all that scripts of this kind import
        (["mflens.files.io", "mflens.prior", "mflens.design.draw"], {"numpy", "scipy"},
         {"glass", "pysco-nbody", "healpy", "ducc0", "camb", "torch"}),
        (["mflens.simulate.chunk", "mflens.simulate.lognormal.tier"], {"glass", "ducc0", "numba"},
         {"pysco-nbody", "torch", "camb"}),
        (["mflens.simulate.chunk", "mflens.simulate.mesh.particles"],
         {"pysco-nbody", "ducc0", "numba"}, {"torch", "camb"}),
        (["mflens.infer.methods"], {"torch", "zuko"}, {"glass", "pysco-nbody", "camb"}),
    ],
)  # fmt: skip
def test_a_process_knows_which_libraries_it_loaded(modules, with_, without):
    command = [sys.executable, "-c", LOADED, *modules]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = set(done.stdout.split())
    assert with_ <= found and not without & found, found


def test_versions_of_all_libraries_are_recorded(tmp_path):
    write_all(tmp_path)
    record = provenance.read_record(tmp_path / "some_rule/a.h5")
    assert set(record["libraries"]) >= {"numpy", "torch"}  # which this process has loaded
    for library in provenance.LIBRARIES:
        assert record["versions"][library] == version(library)


@pytest.mark.parametrize("damage", ["truncate", "flip", "empty", "remove"])
@pytest.mark.parametrize("name", ["a.h5", "a.pt", "a.csv", "a.json"])
def test_damaged_products_are_named_with_the_remedy(tmp_path, name, damage):
    write_all(tmp_path)
    path = tmp_path / "some_rule" / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    kept = {"truncate": content[: len(content) // 2], "flip": content, "empty": b""}
    path.unlink() if damage == "remove" else path.write_bytes(kept[damage])
    readers = {"h5": io.read_hdf5, "pt": io.load_model, "csv": io.read_table, "json": io.read_json}
    with pytest.raises(DataError, match=rf"{name}.* run snakemake") as caught:
        readers[name.split(".")[1]](path)
    assert str(caught.value).isprintable()


def test_a_chunk_with_nan_is_refused(tmp_path):
    io.write_hdf5(tmp_path / "0.h5", {"sim": np.array([3]), "maps": np.ones((1, 2))}, {})
    with h5py.File(tmp_path / "0.h5", "r+") as file:
        file["maps"][0, 1] = np.nan
        file["maps"].attrs["sha256"] = io._digest(file["maps"][()])
    with pytest.raises(DataError, match=r"0\.h5 .*'maps'.* not finite.* run snakemake again"):
        io.read_chunks([tmp_path / "0.h5"], ["maps"])


def test_a_chunk_that_lost_a_sim_is_refused(tmp_path):
    path = tmp_path / "simulate_maps/0.h5"
    with job(tmp_path):
        io.write_hdf5(path, {"sim": np.arange(2), "maps": np.ones((2, 5))}, {})
    io.write_hdf5(path, {"sim": np.arange(1), "maps": np.ones((1, 5))}, {})
    with pytest.raises(DataError, match=r"0\.h5 .*run snakemake again"):
        io.read_chunks([path], ["maps"])


def test_changed_record_is_told(tmp_path):
    write_all(tmp_path)
    record = provenance.record_path(tmp_path, tmp_path / "some_rule/a.csv")
    record.write_text(record.read_text().replace('"seed": 1', '"seed": 2'))
    with pytest.raises(DataError, match=r"a\.csv\.json is damaged"):
        io.read_table(tmp_path / "some_rule/a.csv")


class TestRunConfig:
    def test_it_is_the_whole_config(self, tmp_path, monkeypatch):
        overlay = {"theory": {"parameters": {"sigma_8": None, "S_8": 0.8}}, "results_dir": "é/x"}
        config = merge(read_config("smoke"), overlay)
        monkeypatch.chdir(tmp_path)
        provenance.write_run_config(config)
        text = (tmp_path / "é/x/run.yaml").read_text()
        assert yaml.safe_load(text) == config
        check_config(yaml.safe_load(text))
        # Snakemake puts it over the defaults
        assert merge(read_config(), yaml.safe_load(text)) == config
        assert provenance.hash_of_config(config) in text

    def test_hash(self, config):
        known = provenance.hash_of_config(config)
        assert provenance.hash_of_config(config | {"results_dir": "/other"}) == known
        assert provenance.hash_of_config(config | {"seed": 2}) != known
        # Snakemake's jobs get it without what an overlay took out
        taken_out = merge(config, {"theory": {"parameters": {"w0": None}}})
        assert provenance.hash_of_config(taken_out) == known


def test_import_is_light():
    """The Snakefile imports it at every start; the check of any config needs numpy."""
    heavy = ("torch", "h5py", "scipy", "healpy", "glass")
    code = f"import sys, mflens.run.verify; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_job_has_the_name_of_its_script(tmp_path, monkeypatch):
    """Other workflows rename the rules of a module; their products are the same."""
    record = {}
    for rule in ("measure_spectra", "lensing_measure_spectra", "measure_spectra_b"):
        main = SimpleNamespace(__file__=str(provenance.SCRIPTS / "measure_spectra.py"))
        monkeypatch.setitem(sys.modules, "__main__", main)
        with job(tmp_path, rule=rule):
            record[rule] = provenance.current[-1].record
    assert record["measure_spectra"]["rule"] == "measure_spectra"
    assert all(found == record["measure_spectra"] for found in record.values())
