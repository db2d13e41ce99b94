"""What a method costs, from jobs whose costs are told apart by their digits."""

from pathlib import Path

import pandas as pd
import pytest

from configs import merge, resolved_config
from mflens.evaluate.cost import Simulations, method_cost
from mflens.files.benchmarks import job_of
from mflens.infer.methods import METHODS
from mflens.run.plan import Plan

TRAINING = 0.5  # of each method, its pretraining not included
# two digits a job: a job that is counted twice or not at all shows in the sum
ONCE = {
    ("draw_parameters", "-", "-"): 1,
    ("compute_kernels", "-", "-"): 1e2,
    ("compute_whitening", "-", "-"): 1e4,
    ("compute_training_power", "-", "-"): 1e6,
    ("train_emulator", "-", "-"): 1e6,
    ("sample_posterior", "-", "-"): 1e40,
    ("score_posterior", "-", "-"): 1e40,
}
TWO = {
    ("compute_spectra", "-", "bulk"): 4,
    ("compute_spectra", "-", "validation"): 8,
    ("compute_spectra", "-", "pairs_particle_mesh"): 16,
    ("compute_spectra", "-", "test"): 1e40,
    ("simulate_maps", "lognormal", "bulk"): 400,
    ("simulate_maps", "lognormal", "validation"): 800,
    ("simulate_maps", "lognormal", "pairs_particle_mesh"): 1600,
    ("simulate_maps", "particle_mesh", "pairs_particle_mesh"): 64000,
    ("simulate_maps", "particle_mesh", "test"): 1e40,
    ("measure_spectra", "lognormal", "bulk"): 40000,
    ("measure_spectra", "lognormal", "validation"): 80000,
    ("measure_spectra", "lognormal", "pairs_particle_mesh"): 160000,
    ("measure_spectra", "particle_mesh", "pairs_particle_mesh"): 640000,
    ("measure_spectra", "particle_mesh", "test"): 1e40,
}
EMULATOR, KERNELS, WHITENING, DRAW = 2e6, 1e2, 1e4, 1
# with 16 of 64 pairs: a quarter
EXPECTED = {
    "prior": 0,
    # maps of bulk and validation and their theory
    "low_only": DRAW + KERNELS + EMULATOR + (400 + 4) + (800 + 8),
    # an N-body sim alone needs no seed matching; ridges look at band powers
    "linear_high": DRAW + KERNELS + EMULATOR + (64000 + 640000 + 16) / 4,
    "high_only": DRAW + KERNELS + EMULATOR + (64000 + 16) / 4,
    # no validation sims
    "linear": DRAW + KERNELS + EMULATOR + (400 + 40000 + 4) + (64000 + 640000 + 16) / 4,
    "transfer": DRAW + KERNELS + EMULATOR + (400 + 4) + (800 + 8) + (64000 + 16) / 4,
    # both members share one theory, and need the calibration of the seed matching
    "mlmc": DRAW + KERNELS + WHITENING + EMULATOR + 404 + 808 + (64000 + 1600 + 16) / 4,
    "paired": DRAW + KERNELS + WHITENING + EMULATOR + 404 + 808 + (64000 + 1600 + 16) / 4,
}


def table(costs):
    rows = [(*job, core_s) for job, core_s in costs.items()]
    return pd.DataFrame(rows, columns=["rule", "tier", "split", "core_s"])


def plan(ladder, **simulate):
    return Plan(merge(resolved_config(), {"ladder": ladder, "simulate": simulate}))


def cost(method, jobs, chosen, n_high):
    known = METHODS[method]
    return method_cost(
        table(jobs),
        Simulations(**chosen.simulations),
        learns_from=known.learns_from,
        observable=known.observable,
        n_high=n_high,
        training_core_s=TRAINING,
    )


@pytest.mark.parametrize("method", METHODS)
def test_every_job_once_and_no_other(method):
    chosen = plan(["lognormal", "particle_mesh"])
    n_high = 0 if method in ("prior", "low_only") else 16
    found = cost(method, ONCE | TWO, chosen, n_high)
    assert found == pytest.approx(EXPECTED[method] + TRAINING, rel=1e-12)


@pytest.mark.parametrize("method", METHODS)
def test_chunks_add_up(method):
    """Splitting the jobs of a split into chunks changes no cost."""
    chosen, halves = plan(["lognormal", "particle_mesh"]), []
    for job, core_s in (ONCE | TWO).items():
        halves += [(*job, 0.25 * core_s), (*job, 0.75 * core_s)]
    known = METHODS[method]
    found = method_cost(
        pd.DataFrame(halves, columns=["rule", "tier", "split", "core_s"]),
        Simulations(**chosen.simulations),
        learns_from=known.learns_from,
        observable=known.observable,
        n_high=16,
        training_core_s=TRAINING,
    )
    assert found == pytest.approx(EXPECTED[method] + TRAINING, rel=1e-12)


THREE = {
    ("compute_spectra", "-", "bulk"): 4,
    ("compute_spectra", "-", "validation"): 8,
    ("compute_spectra", "-", "pairs_lpt"): 16,
    ("compute_spectra", "-", "pairs_particle_mesh"): 32,
    ("simulate_maps", "lognormal", "bulk"): 400,
    ("simulate_maps", "lognormal", "validation"): 800,
    ("simulate_maps", "lognormal", "pairs_lpt"): 1600,
    ("simulate_maps", "lpt", "pairs_lpt"): 3200,
    ("simulate_maps", "lpt", "pairs_particle_mesh"): 6400,
    ("simulate_maps", "particle_mesh", "pairs_particle_mesh"): 64000,
}


def test_lower_levels_of_a_longer_ladder_count_in_full():
    chosen = plan(["lognormal", "lpt", "particle_mesh"])
    start = DRAW + KERNELS + EMULATOR + 404 + 808
    expected = {
        "high_only": DRAW + KERNELS + EMULATOR + (64000 + 32) / 4,
        "transfer": start + (64000 + 32) / 4,
        "paired": start + WHITENING + (1600 + 3200 + 16) + (6400 + 64000 + 32) / 4,
    }
    for method, core_s in expected.items():
        assert cost(method, ONCE | THREE, chosen, 16) == pytest.approx(core_s + TRAINING, rel=1e-12)


def test_two_tiers_of_one_mesh_need_no_calibration():
    """Both start from the same linear density; nothing is whitened."""
    jobs = {
        ("compute_spectra", "-", "bulk"): 4,
        ("compute_spectra", "-", "validation"): 8,
        ("compute_spectra", "-", "pairs_particle_mesh"): 16,
        ("simulate_maps", "lpt", "bulk"): 400,
        ("simulate_maps", "lpt", "validation"): 800,
        ("simulate_maps", "lpt", "pairs_particle_mesh"): 1600,
        ("simulate_maps", "particle_mesh", "pairs_particle_mesh"): 64000,
    }
    found = cost("paired", ONCE | jobs, plan(["lpt", "particle_mesh"]), 32)
    expected = DRAW + KERNELS + EMULATOR + 404 + 808 + (65600 + 16) / 2 + TRAINING
    assert found == pytest.approx(expected)


def test_sims_on_disk_need_no_theory():
    disk = {"format": "healpix", "path": "/sims", "table": "sims.csv", "paired": False}
    chosen = plan(["lognormal", "shells_on_disk"], tiers={"shells_on_disk": disk})
    jobs = {
        ("compute_spectra", "-", "bulk"): 4,
        ("compute_spectra", "-", "validation"): 8,
        ("compute_spectra", "-", "pairs_shells_on_disk"): 16,
        ("simulate_maps", "lognormal", "bulk"): 400,
        ("simulate_maps", "lognormal", "validation"): 800,
        ("simulate_maps", "lognormal", "pairs_shells_on_disk"): 1600,
        ("simulate_maps", "shells_on_disk", "pairs_shells_on_disk"): 64000,
    }
    assert cost("high_only", ONCE | jobs, chosen, 16) == DRAW + 64000 / 4 + TRAINING
    expected = DRAW + KERNELS + EMULATOR + 404 + 808 + 64000 / 4 + TRAINING
    assert cost("transfer", ONCE | jobs, chosen, 16) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    "ladder", [["lognormal", "particle_mesh"], ["lognormal", "lpt", "baryons"]]
)
def test_the_table_reads_every_job_that_a_method_may_need(ladder):
    """And those of sampling and scoring in none of them."""
    chosen = plan(ladder)
    found = {job_of(Path(path)) for path in chosen.simulation_benchmarks()}
    rules = {rule for rule, _, _ in found}
    assert rules == {rule for rule, _, _ in ONCE | TWO} - {"sample_posterior", "score_posterior"}
    wanted = {(split, tier) for split, tiers in chosen.splits.items() for tier in tiers}
    assert {(s, t) for rule, t, s in found if rule == "simulate_maps"} == wanted
