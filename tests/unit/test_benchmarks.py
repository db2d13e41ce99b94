"""Benchmarks: which runs are made, that a process measures, and that the tables are right."""

import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from configs import ROOT, read_config, resolved_config
from mflens.benchmarks.alone import run
from mflens.benchmarks.cases import LognormalSim
from mflens.benchmarks.runs import CASES, runs
from mflens.benchmarks.tables import (
    Timings,
    estimate_survey,
    fit_exponent,
    scaling_table,
    speed_table,
)
from mflens.errors import DataError
from mflens.files.io import save_model
from mflens.theory.emulator.domain import Domain
from mflens.theory.emulator.networks import Emulator, SpectrumNetwork
from mflens.theory.growth import growth_of
from mflens.theory.power import N_K

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
        return {
            "power_s": 0.004, "cosmology_s": 0.01 * finer * deeper**2, "sim_s": 0.9 * transforms,
            "write_s": 0.1 * transforms, "transforms_s": transforms,
            "kernels_s": 5.0 * finer**2 * deeper,
        }  # fmt: skip
    if one.case == "GlassExample":
        return {"sim_s": 72.0 * finer}
    if one.case == "CambPower":
        return {"power_s": 1.0}
    if one.case == "PyscoSteps":
        return {"pysco_s": 4.0 * (one.n_mesh / 64) ** 3}
    if one.case == "Arithmetic":
        return {"products_per_s": 100.0 * one.processes**0.5}
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
    return Timings(pd.DataFrame(rows), OPTIONS, "emulator")


def value(table, benchmark, setting=None):
    rows = table[table["benchmark"] == benchmark]
    rows = rows if setting is None else rows[rows["setting"] == setting]
    assert len(rows) == 1
    return rows.iloc[0]


def test_ratios_are_those_of_the_timings(timings):
    table = speed_table(timings)
    at = "nside 128, 12 shells"
    transforms = value(table, "spherical transforms of a sim, one pass each (ms)", at)
    assert transforms.value == pytest.approx(160)
    known = value(table, "cheap sim, known cosmology / transforms", at)
    assert known.value == pytest.approx(1.0) and known.met == "yes"
    new = value(table, "cheap sim, new cosmology, with everything / transforms", at)
    assert new.value == pytest.approx((0.004 + 0.02 + 0.16) / 0.16) and new.met == "yes"
    assert value(table, "P(k) of it, by emulator (ms)", at).value == pytest.approx(4)
    ratio = "GLASS + CAMB example / cheap sim of a new cosmology"
    example = value(table, f"{ratio}, with everything", at)
    assert example.value == pytest.approx(144 / 0.184) and example.met == "yes"
    with_camb = value(table, f"{ratio}, P(k) by CAMB", at)
    assert with_camb.value == pytest.approx(144 / 1.18) and with_camb.met == ""
    mesh = "128^3, nside 64"
    rest = value(table, "light cone, matching and maps / our time steps", mesh)
    assert rest.value == pytest.approx(1 / 16)
    rest = value(table, "light cone, matching and maps / PySCo's time steps", mesh)
    assert rest.value == pytest.approx(1 / 32)
    threads = value(table, "one thread / two threads, N-body sim", mesh)
    assert threads.value == pytest.approx(17 / (8 + 1 / np.sqrt(2)))
    machine = value(table, "matrix products per second, two processes / one")
    assert machine.value == pytest.approx(2**0.5) and machine.met == ""
    rate = value(table, "sims per second, two processes / one, particle_mesh")
    assert rate.value == pytest.approx(2**0.9) and rate.met == "yes"
    assert value(table, "peak memory (GiB)").value == 5.0
    aside = value(table, "peak memory of 65 cheap sims / of one, maps aside")
    assert aside.value == pytest.approx(1.0)


def test_a_missed_target_is_told(timings):
    slow = (timings.table["part"] == "sim_s") & (timings.table["case"] == "LognormalSim")
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
        ("new cosmology without P(k)", "nside"): 1, ("new cosmology without P(k)", "n_shells"): 2,
        ("projection kernels", "nside"): 2, ("projection kernels", "n_shells"): 1,
        ("N-body steps", "n_mesh"): 3, ("N-body light cone and maps", "n_mesh"): 1,
        ("N-body light cone and maps", "nside"): 2,
    }  # fmt: skip
    assert exponents.to_dict() == pytest.approx(expected)
    found = estimate_survey(
        timings, laws, OPTIONS["estimate"], n_bins=3, shared=2, n_calibration=5, emulator_s=90.0
    ).set_index("sims")
    cheap, theory = 0.02 * 8**3 * 2, 0.01 * 8 * 2**2 + 0.004
    steps, rest = 2.0 * 8**3, 0.5 * 8 * 8**2
    hours = {
        "bulk, cheap": 1000 * (cheap + theory / 2),
        "pairs, both members": 10 * (cheap + theory + steps + rest),
        "kernels, emulator, calibration": 5.0 * 8**2 * 2 + 90 + 5 * rest,
    }
    hours["all"] = sum(hours.values())
    for sims, seconds in hours.items():
        assert found.loc[sims, "core_h"] == pytest.approx(seconds / 3600)
    one_map, spectra = 3 * 2 * 12 * 512**2 * 0.5 * 4 / 1e9, 1025 * 24**2 * 8 / 1e9
    disk = 1000 * (one_map + spectra / 2) + 20 * (one_map + spectra)
    assert found.loc["all", "disk_gb"] == pytest.approx(disk)
    assert found.loc["all", "number"] == 1010


def test_smoke_options_have_all_runs_too():
    options = read_config("smoke")["benchmarks"]
    assert {one.case for case in CASES for one in runs(case, options)} == {
        "LognormalSim", "GlassExample", "CambPower", "MeshSim", "PyscoSteps", "LognormalMemory",
        "Arithmetic", "Throughput",
    }  # fmt: skip


def world(**theory):
    config = resolved_config("smoke")
    return {
        "theory": config["theory"] | theory,
        **{key: config["simulate"][key] for key in ("mesh", "tiers", "survey")},
        "nside": 8, "n_shells": 4, "n_mesh": 8,
    }  # fmt: skip


def save_emulator(path):
    """Save an emulator of the smoke run's priors that has learnt nothing."""
    theory = read_config("smoke")["theory"]
    sizes = {"n_outputs": N_K, "n_components": 2, "hidden_features": 4}
    domain = Domain.of(theory["parameters"], theory["nonlinear"])
    n_shape = len(domain.free) - 1
    networks = {
        "linear": SpectrumNetwork(n_inputs=n_shape, **sizes),
        "boost": SpectrumNetwork(n_inputs=n_shape + 3, **sizes),
    }
    emulator = Emulator(domain, theory["nonlinear"], theory["k_max_h_mpc"], 6.0, networks, [])
    save_model(path, *emulator.to_state())


def test_the_power_of_a_sim_is_that_of_the_run(tmp_path):
    path = str(tmp_path / "emulator.pt")
    save_emulator(path)
    z, k_max = np.array([0.5]), 1.0
    emulated, camb = (LognormalSim(repetitions=1, **world(), emulator=e) for e in (path, None))
    growth = growth_of(camb.parameters)
    # the smooth spectrum of a network that adds nothing has no wiggles
    smooth, wiggly = (
        np.log(sim.power(sim.parameters, z, k_max, growth).linear) for sim in (emulated, camb)
    )
    assert 0.01 < np.abs(smooth - wiggly).max() < 0.3
    assert emulated.another(1) != emulated.another(0) == emulated.parameters
    fast, slow = emulated.measure(), camb.measure()
    assert fast["power_s"] < slow["power_s"] / 3


def test_a_process_of_its_own_measures_the_parts_of_a_sim():
    (found,) = run("LognormalSim", world() | {"repetitions": 1})
    assert min(found.values()) >= 0
    assert min(found[part] for part in ("power_s", "cosmology_s", "sim_s", "transforms_s")) > 0
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
    (found,) = run("PyscoSteps", world() | {"repetitions": 1, "nside": 16})
    assert found["pysco_s"] > 0


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
