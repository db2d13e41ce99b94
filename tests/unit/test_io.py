"""Files are written whole, and broken ones are named."""

import h5py
import numpy as np
import pandas as pd
import pytest
import torch

from mflens.errors import DataError
from mflens.files import benchmarks, io

ARRAYS = {"sim": np.arange(4), "maps": np.linspace(0, 1, 12, dtype=np.float32).reshape(4, 3)}


@pytest.fixture
def path(tmp_path):
    target = tmp_path / "chunk" / "0.h5"
    io.write_hdf5(target, ARRAYS, {"tier": "lognormal", "parameters": ["Omega_m", "sigma_8"]})
    return target


def test_roundtrip_with_provenance(path):
    arrays, attributes = io.read_hdf5(path)
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(arrays[name], array)
        assert arrays[name].dtype == array.dtype
    assert attributes["tier"] == "lognormal"
    assert "glass" in attributes["versions"]


def test_same_content_gives_same_bytes(path):
    first = path.read_bytes()
    io.write_hdf5(path, ARRAYS, {"tier": "lognormal", "parameters": ["Omega_m", "sigma_8"]})
    assert path.read_bytes() == first


def test_failed_write_leaves_the_old_file_and_no_litter(path):
    before = path.read_bytes()
    with pytest.raises(RuntimeError), io.atomic(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == ["0.h5"]


@pytest.mark.parametrize("damage", ["truncate", "flip", "empty", "text"])
def test_damaged_file_is_named_with_the_remedy(path, damage):
    content = bytearray(path.read_bytes())
    if damage == "flip":
        with h5py.File(path) as file:
            offset = file["maps"].id.get_offset()
        content[offset + 5] ^= 4
    kept = {"truncate": content[: len(content) // 2], "flip": content, "empty": b"", "text": b"x"}
    path.write_bytes(kept[damage])
    with pytest.raises(DataError, match=r"0\.h5.*delete it and run snakemake again"):
        io.read_hdf5(path)


def test_missing_file_and_missing_dataset(path):
    with pytest.raises(DataError, match="does not exist"):
        io.read_hdf5(path.with_name("9.h5"))
    with pytest.raises(DataError, match="theta"):
        io.read_hdf5(path, ["theta"])


def test_chunks_are_joined_by_sim_and_repeats_refused(tmp_path):
    for name, sims in {"b": [3, 2], "a": [1, 0]}.items():
        sim = np.array(sims)
        arrays = {"sim": sim, "x": sim * 10.0, "pixel": np.arange(3)}
        io.write_hdf5(tmp_path / f"{name}.h5", arrays, {})
    joined = io.read_chunks([tmp_path / "b.h5", tmp_path / "a.h5"], ["x", "pixel"])
    assert joined["sim"].tolist() == [0, 1, 2, 3]
    assert joined["x"].tolist() == [0, 10, 20, 30]
    assert joined["pixel"].tolist() == [0, 1, 2]
    with pytest.raises(DataError, match="more than one"):
        io.read_chunks([tmp_path / "a.h5", tmp_path / "a.h5"], ["x"])
    io.write_hdf5(tmp_path / "gap.h5", {"sim": np.array([0, 1, 3])}, {})
    with pytest.raises(DataError, match=r"gap\.h5 lacks sim 2"):
        io.read_chunks([tmp_path / "gap.h5"], [])


def test_nan_maps_are_not_written(tmp_path):
    maps = np.array([[0.0, np.nan]])
    with pytest.raises(DataError, match="'maps' are not finite"):
        io.write_hdf5(tmp_path / "0.h5", {"sim": np.array([0]), "maps": maps}, {})
    assert list(tmp_path.iterdir()) == []


def test_models_hold_tensors_and_text_only(tmp_path):
    io.save_model(tmp_path / "m.pt", {"w": torch.ones(2)}, {"width": 3})
    state, arguments = io.load_model(tmp_path / "m.pt")
    assert torch.equal(state["w"], torch.ones(2)) and arguments == {"width": 3}
    torch.save({"state": print, "arguments": "{}"}, tmp_path / "evil.pt")
    with pytest.raises(DataError, match=r"evil\.pt"):
        io.load_model(tmp_path / "evil.pt")


def test_tables_and_benchmarks(tmp_path):
    frame = pd.DataFrame({"method": ["prior"], "nlpd": [0.123456]})
    io.write_table(tmp_path / "t.csv", frame)
    pd.testing.assert_frame_equal(io.read_table(tmp_path / "t.csv"), frame)
    io.write_markdown(tmp_path / "t.md", frame)
    assert "| prior | 0.1235 |" in (tmp_path / "t.md").read_text()
    bench = tmp_path / "benchmarks" / "simulate_maps" / "lpt" / "test" / "0.tsv"
    bench.parent.mkdir(parents=True)
    bench.write_text("s\tmax_rss\tcpu_time\n2.5\t100.0\t2.0\n")
    row = benchmarks.read_benchmarks([bench], {"simulate_maps": 2}).iloc[0]
    assert tuple(row) == ("simulate_maps", "lpt", "test", 5.0, 100.0)
    with pytest.raises(DataError, match="not a benchmark"):
        benchmarks.read_benchmarks([bench.with_name("1.tsv")], {})
