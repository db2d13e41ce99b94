"""Chunk sizes, requests and estimates that follow from the measured cost of one sim."""

import pytest

from configs import read_config, resolved_config
from mflens.run import needs as needs_of
from mflens.run.needs import AUTO, Needs, SimCost, chunk_sizes
from mflens.run.plan import Plan
from mflens.run.resolve import resolve
from mflens.simulate.mesh import matching

SPLIT_KINDS = ["bulk", "validation", "pairs", "test"]


def needs(config):
    resolve(config)
    return Needs(config, Plan(config))


def automatic(**simulate):
    config = resolved_config()
    config["simulate"] |= {"chunk_size": dict.fromkeys(SPLIT_KINDS, AUTO)} | simulate
    return config


def request(config, rule, attempt=1):
    return {name: f(None, attempt=attempt) for name, f in needs(config).of(rule).items()}


def test_sim_costs_what_was_measured_and_grows_as_measured():
    config = resolved_config()
    config["simulate"] |= {"nside": 256}
    config["theory"]["shells"]["n_shells"] = 12
    measured = config["benchmarks"]["cost"]["lognormal"]
    once = SimCost(config).sim_s("bulk", "lognormal")
    assert once == pytest.approx(measured["seconds"])
    config["simulate"]["nside"] = 512
    twice = SimCost(config).sim_s("bulk", "lognormal")
    assert twice / once == pytest.approx(2 ** measured["nside"][1])


def test_tiers_and_pairs_cost_more():
    cost = SimCost(resolved_config())
    bulk, pair = (cost.sim_s(s, "lognormal") for s in ("bulk", "pairs_particle_mesh"))
    assert bulk < pair < cost.sim_s("pairs_particle_mesh", "particle_mesh")
    assert (
        cost.mesh_gib("bulk", "lognormal") == 0 < cost.mesh_gib("pairs_particle_mesh", "lognormal")
    )


def test_calibration_is_counted_as_it_is_made():
    assert (needs_of.N_FINER, needs_of.FINER) == (matching.N_COMPARED, matching.FINENESS**2)


def test_maps_have_the_size_of_the_benchmarks_estimate():
    """10^4 sims of three bins on an octant at nside 512: 94.37 GB, counted there on its own."""
    config = resolved_config()
    config["simulate"]["nside"] = 512
    config["simulate"]["survey"]["n_gal_arcmin2"] = [5.0, 5.0, 5.0]
    assert 1e4 * 4e-9 * SimCost(config).map_values() == pytest.approx(94.37, rel=1e-4)


@pytest.mark.parametrize(
    ("mask", "fraction"),
    [
        ("octant", 1 / 8),
        ("full", 1),
        ({"caps": [{"area_deg2": 4125.3}] * 2}, 0.2),
        ("a.fits", 1),
        ({"path": "a.fits", "caps": None}, 1),
    ],
    ids=str,
)
def test_sky_fraction(mask, fraction):
    config = resolved_config()
    config["simulate"]["survey"]["mask"] = mask
    assert SimCost(config).sky_fraction() == pytest.approx(fraction)


def test_chunks_take_the_time_they_should():
    config = automatic(nside=512, sims=dict.fromkeys(SPLIT_KINDS, 100_000))
    sizes = chunk_sizes(config)
    minutes = config["simulate"]["chunk_minutes"]
    assert sizes["bulk"] * SimCost(config).sim_s("bulk", "lognormal") / 60 == pytest.approx(
        minutes, rel=0.02
    )
    config["simulate"] |= {"chunk_minutes": 2 * minutes}
    assert chunk_sizes(config)["bulk"] == pytest.approx(2 * sizes["bulk"], rel=0.02)
    assert sizes["pairs"] < sizes["bulk"]


@pytest.mark.parametrize("shared", [1, 2, 3])
def test_chunks_hold_whole_cosmologies_and_leave_work_for_some_cores(shared):
    config = automatic(realisations_per_cosmology=shared)
    sizes, sims = chunk_sizes(config), config["simulate"]["sims"]
    assert all(2 <= -(-sims[name] // size) <= 3 for name, size in sizes.items())
    assert sizes["bulk"] % shared == sizes["validation"] % shared == 0


def test_chunks_are_never_empty():
    config = automatic(chunk_minutes=1e-6, realisations_per_cosmology=2)
    assert chunk_sizes(config) == {"bulk": 2, "validation": 2, "pairs": 1, "test": 1}


def test_chunk_sizes_of_the_config_are_kept():
    config = resolved_config("smoke")
    assert chunk_sizes(config) == read_config("smoke")["simulate"]["chunk_size"]


def test_every_attempt_asks_for_more():
    first, third = (request(resolved_config(), "simulate_maps", attempt) for attempt in (1, 3))
    assert first["mem_mb"] > 1000
    assert first["runtime"] >= 15
    assert third == {name: 3 * value for name, value in first.items()}


def test_requests_of_a_survey():
    """A 512^3 mesh of 140 bytes a cell is 18 GiB; margin and process come on top."""
    config = resolved_config("survey", "euclid_dr1")
    costly, cheap, figure = (
        request(config, rule) for rule in ("simulate_costly_maps", "simulate_maps", "plot_sky")
    )
    assert 18 * 1024 < costly["mem_mb"] < 40 * 1024
    assert figure["mem_mb"] < cheap["mem_mb"] < costly["mem_mb"]
    # ten and a half thousand maps in memory once, the chunks that are being read, and the margin
    sims = 10_500 + 2 * chunk_sizes(config)["bulk"]
    maps_gib = sims * SimCost(config).map_values() * 4 / 2**30
    trained = request(config, "pretrain_compressor")["mem_mb"] / 1024
    assert 1.5 * maps_gib < trained < 2 * maps_gib
    # three times the quarter of an hour that a chunk should take
    assert cheap["runtime"] == costly["runtime"] == 45


def test_summary_names_folder_and_free_space(tmp_path):
    config = resolved_config("smoke")
    config["results_dir"] = str(tmp_path / "not/yet")
    assert "GB are free" in needs(config).summary()
    assert str(tmp_path) in needs(config).summary()
