"""Benchmarks: which runs are made, that a process measures, and that the tables are right."""

import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from configs import ROOT, read_config
from mflens.benchmarks.alone import run
from mflens.benchmarks.runs import CASES, runs
from mflens.benchmarks.tables import (
    Timings,
    estimate_survey,
    fit_exponent,
    scaling_table,
    speed_table,
)
from mflens.errors import DataError

OPTIONS = {
    "nside": [64, 128, 256], "n_mesh": [64, 128], "n_shells": 12, "repetitions": 5,
    "survey": {"redshifts": {}, "n_gal_arcmin2": [5.0, 5.0, 5.0]},
    "memory": {"n_mesh": 256, "nside": 256},
    "estimate": {
        "nside": 512, "n_shells": 24, "n_mesh": 512, "bulk": 1000, "high": 10, "sky_fraction": 0.5,
    },
}  # fmt: skip


def law(one):
    """Return made-up measurements of a run that follow power laws."""
    finer, deeper = one.nside / 64, one.n_shells / 12
    transforms = 0.02 * finer**3 * deeper
    if one.case == "LognormalSim":
        sim = 0.9 * transforms
        return {
            "power_s": 1.0, "theory_s": 0.01 * finer * deeper**2, "new_sim_s": 1.2 * transforms,
            "same_sim_s": sim, "write_s": 0.1 * transforms, "transforms_s": transforms,
            "single_pass_s": 0.5 * transforms,
        }  # fmt: skip
    if one.case == "GlassExample":
        return {"sim_s": 72.0}
    if one.case == "MeshSim":
        steps = 2.0 * (one.n_mesh / 64) ** 3 / one.threads
        rest = 0.5 * (one.n_mesh / 64) * finer**2 / one.threads**0.5
        return {
            "steps_s": steps, "rest_s": rest, "wall_s": steps + rest,
            "peak_rss_gib": 5.0 if one.n_mesh == 256 else 0.5,
        }  # fmt: skip
    if one.case == "LognormalMemory":
        n = one.options["n_sims"]
        return {"maps_gib": 0.01 * n, "peak_rss_gib": 0.5 + 0.01 * n}
    return {"sims_per_s": one.processes**0.9 * (10.0 if one.options["tier"] == "lognormal" else 1)}


@pytest.fixture
def timings():
    rows = []
    for case in CASES:
        for one in runs(case, OPTIONS):
            rows += [one.key | {"part": k, "value": v} for k, v in law(one).items()]
    return Timings(pd.DataFrame(rows), OPTIONS)


def value(table, benchmark, setting=None):
    rows = table[table["benchmark"] == benchmark]
    rows = rows if setting is None else rows[rows["setting"] == setting]
    assert len(rows) == 1
    return rows.iloc[0]


def test_ratios_are_those_of_the_timings(timings):
    table = speed_table(timings)
    at = "nside 128, 12 shells"
    assert value(table, "spherical transforms of a sim (ms)", at).value == pytest.approx(160)
    known = value(table, "cheap sim, known cosmology / transforms", at)
    assert known.value == pytest.approx(1.0) and known.met == "yes"
    new = value(table, "cheap sim, new cosmology without P(k) / transforms", at)
    assert new.value == pytest.approx((0.02 + 1.3 * 0.16) / 0.16)
    assert value(
        table, "the same / transforms without iterated analysis", at
    ).value == pytest.approx(2 * new.value)
    seconds = 0.01 + 1.3 * 0.02
    example = value(table, "GLASS + CAMB example / cheap sim without P(k)")
    assert example.value == pytest.approx(72 / seconds) and example.met == "yes"
    with_camb = value(table, "GLASS + CAMB example / cheap sim with CAMB's P(k)")
    assert with_camb.value == pytest.approx(72 / (1 + seconds)) and with_camb.met == ""
    mesh = "128^3, nside 64"
    rest = value(table, "light cone, matching and maps / PySCo's steps", mesh)
    assert rest.value == pytest.approx(1 / 16)
    threads = value(table, "one thread / two threads, N-body sim", mesh)
    assert threads.value == pytest.approx(17 / (8 + 1 / np.sqrt(2)))
    rate = value(table, "sims per second, two processes / one, particle_mesh")
    assert rate.value == pytest.approx(2**0.9) and rate.met == "yes"
    assert value(table, "peak memory (GiB)").value == 5.0
    aside = value(table, "peak memory of 65 cheap sims / of one, maps aside")
    assert aside.value == pytest.approx(1.0)


def test_a_missed_target_is_told(timings):
    slow = timings.table["part"] == "same_sim_s"
    timings.table.loc[slow, "value"] *= 5
    table = speed_table(timings)
    rows = table[table["benchmark"] == "cheap sim, known cosmology / transforms"]
    assert set(rows["met"]) == {"no"}


def test_the_median_of_repeated_runs_counts(timings):
    mesh = timings.table[(timings.table["part"] == "steps_s") & (timings.table["threads"] == 1)]
    outlier = mesh.iloc[[0]].assign(value=1e3)
    timings.table = pd.concat([timings.table, outlier])
    assert timings.of("MeshSim", "steps_s") == pytest.approx(2.0)


def test_exponents_and_the_extrapolation_follow_the_laws(timings):
    assert fit_exponent([1, 2, 4], [3, 12, 48]) == pytest.approx(2)
    laws = scaling_table(timings)
    exponents = laws.set_index(["cost", "variable"])["exponent"]
    expected = {
        ("transforms", "nside"): 3, ("cheap sim", "nside"): 3, ("cheap sim", "n_shells"): 1,
        ("theory without P(k)", "nside"): 1, ("theory without P(k)", "n_shells"): 2,
        ("N-body steps", "n_mesh"): 3, ("N-body light cone and maps", "n_mesh"): 1,
        ("N-body light cone and maps", "nside"): 2,
    }  # fmt: skip
    assert exponents.to_dict() == pytest.approx(expected)
    found = estimate_survey(timings, laws, OPTIONS["estimate"], n_bins=3, shared=2)
    found = found.set_index("sims")
    cheap, theory = 0.02 * 8**3 * 2, 0.01 * 8 * 2**2 + 1
    mesh = 2.0 * 8**3 + 0.5 * 8 * 8**2
    assert found.loc["bulk, cheap", "core_h"] == pytest.approx(1000 * (cheap + theory / 2) / 3600)
    high = 10 * (cheap + theory + mesh) / 3600
    assert found.loc["pairs, both members", "core_h"] == pytest.approx(high)
    one_map = 3 * 2 * 12 * 512**2 * 0.5 * 4 / 1e9
    assert found.loc["all", "disk_gb"] == pytest.approx(1020 * one_map)
    assert found.loc["all", "number"] == 1010


def test_smoke_options_have_all_runs_too():
    options = read_config("smoke")["benchmarks"]
    assert {one.case for case in CASES for one in runs(case, options)} == {
        "LognormalSim", "GlassExample", "MeshSim", "LognormalMemory", "Throughput"
    }  # fmt: skip


def world():
    config = read_config("smoke")
    shells = config["theory"]["shells"]
    return {
        "parameters": {
            "Omega_m": 0.3, "sigma_8": 0.8, "h": 0.7, "n_s": 0.96, "Omega_b": 0.046, "m_nu": 0.0
        },
        "depth_mpc_h": shells["n_shells"] * shells["thickness_mpc_h"],
        "k_max": 1.0, "nonlinear": "mead2020",
        **{key: config["simulate"][key] for key in ("mesh", "tiers", "survey")},
        "nside": 8, "n_shells": 4, "n_mesh": 8,
    }  # fmt: skip


def test_a_process_of_its_own_measures_the_parts_of_a_sim():
    (found,) = run("LognormalSim", world() | {"repetitions": 1})
    assert min(found.values()) >= 0
    assert found["new_sim_s"] > 0 and found["transforms_s"] > found["single_pass_s"] > 0
    assert 0.05 < found["peak_rss_gib"] < 4


def test_a_case_that_fails_is_named():
    with pytest.raises(DataError, match="benchmark 'LognormalSim' failed"):
        run("LognormalSim", world() | {"repetitions": 1, "nside": 7})


@pytest.mark.slow
def test_processes_side_by_side_and_mesh_sims_measure():
    rates = run("Throughput", world() | {"tier": "lognormal", "n_sims": 2}, processes=2)
    assert len(rates) == 2 and min(one["sims_per_s"] for one in rates) > 0
    (found,) = run("MeshSim", world() | {"repetitions": 1, "nside": 16}, threads=2)
    assert min(found["wall_s"], found["steps_s"], found["rest_s"]) > 0


def test_the_target_is_in_the_graph(tmp_path):
    command = [sys.executable, "-m", "snakemake", "-s", str(ROOT / "Snakefile"), "-n", "-c2"]
    command += ["benchmarks", "--configfile", str(ROOT / "config/smoke.yaml")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=os.environ)
    assert done.returncode == 0, done.stdout + done.stderr
    text = done.stdout + done.stderr
    assert all(f"measure_speed/{case}.csv" in text for case in CASES)
    assert "tabulate_benchmarks/speed.md" in text
    # nothing of the science run is needed
    assert "rule simulate_maps" not in text
