"""One run at a time in a folder, and no files from the future."""

import os
import time

import pytest

from mflens.errors import ConfigError
from mflens.run_folder import claim, forget_the_future

DAY_NS = 86_400 * 10**9


def test_time_stamps_keep_their_order(tmp_path):
    now = time.time_ns()
    stamps = {"old": now - DAY_NS, "late": now + DAY_NS, "later": now + 2 * DAY_NS}
    for name, stamp in stamps.items():
        (tmp_path / name).touch()
        os.utime(tmp_path / name, ns=(stamp, stamp))
    (tmp_path / "new").touch()
    assert forget_the_future(str(tmp_path)) == 2
    found = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert found["old"] == stamps["old"]
    assert found["old"] < found["late"] < found["later"] <= time.time_ns()


def test_a_folder_is_claimed_once(tmp_path):
    folder = str(tmp_path / "results")
    with claim(folder), pytest.raises(ConfigError, match="another run is writing to"):
        claim(folder)
    claim(folder).close()


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="results_dir.*cannot be written"):
        claim(str(tmp_path / "file" / "results"))
