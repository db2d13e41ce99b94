"""One run at a time in a folder, and no files from the future."""

import os
import time

import pytest

from mflens.errors import ConfigError
from mflens.problems import no_folder
from mflens.run.run_folder import claim, forget_the_future

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


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Return a folder with everything that is no folder of results."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    links = {
        **{"dangling": "no/where", "again": "dangling", "to_file": "file", "to_folder": "folder"},
        **{"loop": "pool", "pool": "loop", "itself": "itself"},
    }
    for name, target in links.items():
        (tmp_path / name).symlink_to(target)
    return tmp_path


@pytest.mark.parametrize(
    ("folder", "words"),
    [
        ("dangling", "'dangling' is a link to 'no/where', which does not exist; make"),
        ("dangling/a/b", "lies below 'dangling', which is a link to 'no/where'"),
        ("again", "'again' is a link to 'dangling', which does not exist"),
        ("file", "'file' is a file"),
        ("file/a", "lies below 'file', which is a file"),
        ("to_file", "'to_file' is a link to the file '"),
        ("loop", "'loop' is a link that cannot be followed"),
        ("itself/a", "lies below 'itself', which is a link that cannot be followed"),
        ("folder/../file", "is a file"),
    ],
)
def test_what_is_no_folder_of_results(place, folder, words):
    (problem,) = no_folder(folder)
    assert words in problem
    assert problem.startswith(f"results_dir: '{folder}' ")
    assert problem.endswith("remove it.")
    (absolute,) = no_folder(str(place / folder))
    assert absolute.replace(f"'{place}/", "'") == problem.replace(f"'{place}/", "'")


@pytest.mark.parametrize(
    "folder", ["folder", "new", "new/er", "to_folder", "to_folder/a", "folder/a"]
)
def test_folders_of_results(place, folder):
    assert list(no_folder(folder)) == []
    claim(folder).close()


@pytest.mark.skipif(os.getuid() != 0, reason="needs root, who may become another user")
def test_a_folder_of_another_user(tmp_path):
    """A dry run may look at it, a run may not write to it."""
    folder = tmp_path / "results"
    folder.mkdir(mode=0o755)
    for path in (tmp_path, *tmp_path.parents[:-2]):
        path.chmod(path.stat().st_mode | 0o055)
    child = os.fork()
    if child == 0:
        try:
            os.setuid(65534)
            assert list(no_folder(str(folder))) == []
            claim(str(folder))
        except ConfigError as error:
            os._exit(0 if "cannot be written (Permission denied)" in str(error) else 2)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
