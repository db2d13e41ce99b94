"""What verify finds in the files, and what repair removes; with Snakemake: test_workflow.py."""

import fcntl
import json

import numpy as np
import pytest

from configs import read_config
from jobs import Named, job
from mflens.errors import ConfigError, DataError
from mflens.files import io, provenance
from mflens.files.dependencies import fingerprint
from mflens.files.provenance import load_record, record_path, sha256_of, write_run_config
from mflens.run import verify as v

CODE = fingerprint(v.ROOT / "scripts/measure_spectra.py")


@pytest.fixture
def results(tmp_path, monkeypatch):
    """Return results with two products, one in a folder that is made as a whole."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "results"
    write_run_config(read_config("smoke"))
    chains = folder / "sample_posterior/prior/0_chains"
    with job(folder, rule="measure_spectra", output=[chains], params=Named(code=CODE)):
        io.write_hdf5(folder / "measure_spectra/0.h5", {"x": np.arange(3.0)}, {})
        io.write_json(chains / "1.json", {})
        io.write_json(chains / "2.json", {})
    return folder


def bytes_state(results, product):
    record = load_record(record_path(results, results / product))
    return v._bytes_state(results, product, record)


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"", "empty"), (b"abc", "truncated, 3 of"), (None, "checksum"), ("nan", "not finite")],
)
def test_broken_bytes(results, content, words):
    path = results / "measure_spectra/0.h5"
    if content == "nan":
        with job(results, rule="measure_spectra"):
            io.write_hdf5(path, {"x": np.array([1.0, np.nan])}, {})
    else:
        whole = path.read_bytes()
        path.write_bytes(whole[:-1] + b"\x07" if content is None else content)
    state, reason = bytes_state(results, "measure_spectra/0.h5")
    assert state == "broken"
    assert words in reason


def test_whole_and_missing(results):
    assert bytes_state(results, "measure_spectra/0.h5") is None
    (results / "measure_spectra/0.h5").unlink()
    assert bytes_state(results, "measure_spectra/0.h5")[0] == "missing"
    # Snakemake looks at the folder alone
    (results / "sample_posterior/prior/0_chains/1.json").unlink()
    assert bytes_state(results, "sample_posterior/prior/0_chains/1.json")[0] == "broken"


def test_origin(results):
    records = {
        name: load_record(record_path(results, results / name))
        for name in ("measure_spectra/0.h5", "sample_posterior/prior/0_chains/1.json")
    }
    record = records["measure_spectra/0.h5"]
    planned, codes = {record["output"]: "ok"}, {"measure_spectra": CODE}

    def state(record=record, planned=planned, codes=codes):
        return v._origin_state(records, record, planned, codes)

    assert state() is None
    assert "other code" in state(codes={"measure_spectra": "other"})[1]
    assert state(planned={}) == ("left over", "is no part of this config")
    assert state(planned={record["output"]: "params changed"})[0] == "stale"
    assert state(planned={record["output"]: "missing"}) is None
    chain, mine = "sample_posterior/prior/0_chains/1.json", results.parent / "sims.csv"
    mine.write_text("file\na\n")
    for path, checksum in ((chain, records[chain]["sha256"]), (str(mine), sha256_of(mine))):
        assert state({**record, "inputs": {path: checksum}}) is None
        assert "another version" in state({**record, "inputs": {path: "other"}})[1]
    # a damaged input has damaged nothing that was made from it before
    updated = {record["output"]: "updated input files"}
    assert state(planned=updated) is None


@pytest.mark.parametrize("library", ["glass", "pysco-nbody", "healpy", "ducc0", "numpy"])
def test_another_version_of_a_library_makes_stale_what_it_made(results, monkeypatch, library):
    """And nothing that it had no part in, as the process that made it never loaded it."""
    record = load_record(record_path(results, results / "measure_spectra/0.h5"))
    planned, codes = {record["output"]: "ok"}, {"measure_spectra": CODE}
    with_it = {**record, "libraries": ["scipy", library]}
    without = {**record, "libraries": ["scipy"]}

    def state(record):
        return v._origin_state({}, record, planned, codes)

    assert state(with_it) is None
    now = record["versions"][library]
    # as after an upgrade: the record says an older version
    old = {**with_it, "versions": {**record["versions"], library: "0.0.1"}}
    assert state(old) == ("stale", f"made with {library} 0.0.1, which is {now} now")
    assert state({**without, "versions": old["versions"]}) is None
    # or the environment has another one, or none
    versions = json.loads(provenance.origin()["versions"])
    for other in ("99.1", "not installed"):
        changed = {"git_commit": "a", "versions": json.dumps({**versions, library: other})}
        monkeypatch.setattr(provenance, "origin", lambda changed=changed: changed)
        assert state(with_it) == ("stale", f"made with {library} {now}, which is {other} now")
        assert state(without) is None
    # a build of the same version
    changed = {"git_commit": "a", "versions": json.dumps({**versions, library: f"{now}+cpu"})}
    monkeypatch.setattr(provenance, "origin", lambda: changed)
    assert state(with_it) is None


def test_run_config(results):
    assert v._state_of_config(results)[0] == "ok"
    path = results / "run.yaml"
    text = path.read_text()
    for broken in (text.replace("nside: 16", "nside: 32"), text[:400], "", "[", "\0"):
        path.write_text(broken)
        assert v._state_of_config(results)[0] == "broken"


def test_repair_removes_what_is_broken_and_nothing_else(results):
    config = read_config("smoke")
    chain = "sample_posterior/prior/0_chains"
    findings = [
        v.Finding("measure_spectra/0.h5", "left over", "", "measure_spectra/0.h5"),
        v.Finding(f"{chain}/1.json", "broken", "", chain, planned=True),
        v.Finding(f"{chain}/2.json", "ok", "", chain, planned=True),
        v.Finding("gone.csv", "stale", "", "gone.csv"),
    ]
    before = {path for path in results.rglob("*") if path.is_file()}
    assert v.repair(config, findings) == [chain, "gone.csv"]
    gone = {p.relative_to(results).as_posix() for p in before if not p.exists()}
    assert gone == {
        f"{place}{chain}/{name}.json{suffix}"
        for place, suffix in (("", ""), ("provenance/", ".json"))
        for name in (1, 2)
    }
    assert v.removed_products(config) == [chain]
    assert v.removed_products(config | {"seed": 2}) == []
    # a second repair forgets nothing
    v.repair(config, [v.Finding("b.csv", "broken", "", "b.csv", planned=True)])
    assert v.removed_products(config) == ["b.csv", chain]
    (results / "b.csv").touch()
    assert v.removed_products(config) == [chain]


def test_repair_waits_for_no_run(results):
    with open(results / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(DataError, match="a run is writing"):
            v.repair(read_config("smoke"), [])


def test_config_to_check_against(results, root):
    assert v.read_config(results, []) == read_config("smoke") | {"results_dir": str(results)}
    overlay = str(root / "config/smoke.yaml")
    assert v.read_config(results, [overlay]) == v.read_config(results, [])
    with pytest.raises(DataError, match=r"no\.yaml cannot be read"):
        v.read_config(results, ["no.yaml"])


@pytest.mark.parametrize(
    "line",
    [
        "there --configfile a.yaml b.yaml --repair",
        "--configfile a.yaml b.yaml --repair there",
        "--configfile a.yaml b.yaml there --repair",
        "--repair --configfile a.yaml --configfile b.yaml there",
        "--configfile a.yaml there --configfile b.yaml --repair",
    ],
)
def test_command_line_in_any_order(tmp_path, monkeypatch, line):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there").mkdir()
    chosen = v.parse(line.split())
    assert (chosen.results, chosen.configfile) == ("there", ["a.yaml", "b.yaml"])
    assert chosen.repair


def test_command_line_without_results(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert v.parse([]).results == v.parse(["--configfile", "a.yaml"]).results == "results"


def test_overlays_are_read_as_in_a_run(results, tmp_path):
    overlay = tmp_path / "overlay.yaml"
    overlay.write_text("theory: {k_max_h_mpc: 2e0}\n")
    assert v.read_config(results, [str(overlay)])["theory"]["k_max_h_mpc"] == 2.0
    overlay.write_text("theory: {parameters: {n_s: 0.9, h: 0.7}}\n")
    found = v.read_config(results, [str(overlay)])["theory"]["parameters"]
    assert [*found][:3] == ["n_s", "h", "Omega_m"], "the order of a run's columns"
    overlay.write_text("simulate: {nside: 32}\nsimulate: {ell_max: 64}\n")
    with pytest.raises(ConfigError, match=r"overlay\.yaml: the key simulate is given twice"):
        v.read_config(results, [str(overlay)])


def test_the_config_of_the_last_run_is_no_product(results):
    """A workflow that uses this one as a module may not write it."""
    missing = v.Finding("run.yaml", "missing", "", "run.yaml")
    others = [v.Finding("run.yaml", "broken"), v.Finding("a/run.yaml", "missing")]
    assert v.faults([missing, *others]) == others


def test_nothing_to_check_is_one_sentence(tmp_path, capsys):
    assert v.main([str(tmp_path)]) == 2
    assert "run.yaml cannot be read" in capsys.readouterr().err
