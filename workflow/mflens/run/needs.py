"""What jobs need: core-seconds, memory and disk, scaled from the measured cost of one sim.

The measurements are the config's `benchmarks.cost`. They set the chunk sizes that are `auto` and
what jobs ask of a cluster; no result depends on them.
"""

import math
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mflens.problems import AUTO
from mflens.run.plan import Plan, kind, realisations, shares_mesh, splits, uses_mesh

MIN_CHUNKS = 2  # of a split whose chunk size is automatic: small runs use some cores, too
DEG2_OF_SKY = 41253.0
FLOAT = 4  # bytes of a map's value, a kernel's value
N_WAVENUMBERS = 4000  # of the kernels, about
COPIES = 3  # of a chunk's theory and of maps whose harmonics are taken
N_FINER, FINER = 8, 2.25  # calibration draws with more lines of sight, and how many more
WORK = 10  # sizes of a batch of maps that the network takes in beside it
GIB, GB = 2**30, 1e9
MINUTE, HOUR = 60.0, 3600.0
ROUND_MINUTES, ROUND_MB = 5, 100


@dataclass(frozen=True)
class Job:
    """What a job of a rule takes.

    Attributes
    ----------
    core_s
        Core-seconds.
    gib
        Memory (GiB), beside that of an idle process.
    threads
        Threads that share the time.
    """

    core_s: float
    gib: float = 0.0
    threads: int = 1


class SimCost:
    """The cost of one sim of a config, of its theory and of its maps.

    Parameters
    ----------
    config
        The whole config, checked.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.config, self.simulate = config, config["simulate"]
        self.cost, self.ladder = config["benchmarks"]["cost"], config["ladder"]
        self.n_shells = config["theory"]["shells"]["n_shells"]
        self.n_bins = len(self.simulate["survey"]["n_gal_arcmin2"])
        mesh = self.simulate["mesh"]
        self.size = {
            "nside": self.simulate["nside"], "n_shells": self.n_shells, "n_mesh": mesh["n_mesh"],
        }  # fmt: skip

    def scaled(self, name: str) -> float:
        """Return core-seconds at the config's sizes, by the power laws of one measurement."""
        law = dict(self.cost[name])
        seconds = law.pop("seconds")
        for variable, (measured_at, exponent) in law.items():
            seconds *= (self.size[variable] / measured_at) ** exponent
        return float(seconds)

    def sim_s(self, split: str, tier: str) -> float:
        """Return the core-seconds of one sim of a split on a tier, its theory aside."""
        seconds = self.scaled("lognormal")
        evolves = uses_mesh(tier, self.simulate)
        if evolves or shares_mesh(split, self.ladder, self.simulate):
            seconds += self.scaled("light_cone")
        return seconds + self.scaled("steps") * (evolves and tier != "lpt")

    def theory_s(self) -> float:
        """Return the core-seconds of the theory of one cosmology."""
        power = self.cost["power_s"] if self.config["theory"]["power"] == "camb" else 0.0
        return power + self.scaled("theory")

    def sky_fraction(self) -> float:
        """Return the part of the sky in the footprint; 1, an upper limit, for masks in files."""
        mask = self.simulate["survey"]["mask"]
        if isinstance(mask, Mapping) and mask.get("caps"):
            return min(sum(cap["area_deg2"] for cap in mask["caps"]) / DEG2_OF_SKY, 1.0)
        return 1 / 8 if mask == "octant" else 1.0

    def map_values(self) -> float:
        """Return the number of values of the maps of one sim."""
        return self.n_bins * 2 * 12 * self.size["nside"] ** 2 * self.sky_fraction()

    def mesh_gib(self, split: str, tier: str) -> float:
        """Return the memory of the mesh of one sim, 0 where it needs none."""
        needed = uses_mesh(tier, self.simulate) or shares_mesh(split, self.ladder, self.simulate)
        return needed * self.cost["cell_bytes"] * self.size["n_mesh"] ** 3 / GIB

    def sky_gib(self) -> float:
        """Return the memory of the density shells of one sim."""
        return self.cost["pixel_bytes"] * 12 * self.size["nside"] ** 2 * self.n_shells / GIB

    def kernels_gib(self) -> float:
        """Return the memory of the projection kernels, with their two moments."""
        return 2 * FLOAT * N_WAVENUMBERS * self.n_shells * self.simulate["ell_max"] / GIB

    def spectra_gib(self, split: str) -> float:
        """Return the size of the shell spectra of one cosmology, and of what matching needs."""
        n = 2 if shares_mesh(split, self.ladder, self.simulate) else 1
        return n * 2 * FLOAT * self.simulate["ell_max"] * self.n_shells**2 / GIB


def chunk_sizes(config: Mapping[str, Any]) -> dict[str, int]:
    """Return the chunk size of every kind of split, those that are `auto` from the cost of a sim.

    An automatic chunk takes about `simulate.chunk_minutes`, is half of its split at most and
    holds whole cosmologies.
    """
    simulate, cost = config["simulate"], SimCost(config)
    longest: dict[str, float] = {}
    for split, tiers in splits(config["ladder"]).items():
        seconds = max(cost.sim_s(split, tier) for tier in tiers)
        longest[kind(split)] = max(seconds, longest.get(kind(split), 0.0))
    sizes = {}
    for name, wanted in simulate["chunk_size"].items():
        n, shared = simulate["sims"][name], realisations(name, simulate)
        sims = simulate["chunk_minutes"] * MINUTE * simulate["threads"] / longest[name]
        most = min(int(sims), -(-n // MIN_CHUNKS))
        sizes[name] = max(most // shared, 1) * shared if wanted == AUTO else wanted
    return sizes


class Needs:
    """What the jobs of every rule ask of a cluster, and what the run costs in all.

    All jobs of a rule ask for the same, that of the largest, for an array of jobs has one request.

    Parameters
    ----------
    config
        The whole config, checked, its chunk sizes resolved.
    plan
        Its plan.
    """

    def __init__(self, config: Mapping[str, Any], plan: Plan) -> None:
        self.config, self.plan, self.sim = config, plan, SimCost(config)
        self.results, self.cost = config["results_dir"], config["benchmarks"]["cost"]
        self.jobs = {**self._theory_jobs(), **self._sim_jobs(), **self._training_jobs()}

    def of(self, rule: str) -> dict[str, Callable[..., int]]:
        """Return `mem_mb` and `runtime` (minutes) of a rule's jobs, more with every attempt."""
        cost = self.cost
        job = self.jobs.get(rule, Job(cost["task_s" if "_task_" in rule else "light_s"]))
        megabytes = cost["margin"]["memory"] * (cost["base_gib"] + job.gib) * 1024
        minutes = cost["margin"]["time"] * job.core_s / job.threads / MINUTE
        mem_mb = _round_up(megabytes, ROUND_MB)
        runtime = _round_up(max(minutes, cost["least_minutes"]), ROUND_MINUTES)
        return {
            "mem_mb": lambda wildcards, attempt: attempt * mem_mb,
            "runtime": lambda wildcards, attempt: attempt * runtime,
        }

    def summary(self) -> str:
        """Return one sentence on core-hours and disk of the default target."""
        folder = Path(self.results).absolute()
        while not folder.exists():
            folder = folder.parent
        free = shutil.disk_usage(folder).free / GB
        return (
            f"The whole run takes about {_figure(self.core_hours())} core-hours and "
            f"{_figure(self.disk_gb())} GB in '{self.results}', where {free:.3g} GB are free."
        )

    def core_hours(self) -> float:
        """Return the core-hours of all sims, their theory and all training."""
        sims, sim, jobs = self.plan.sims, self.sim, self.jobs
        seconds = sum(
            n * sim.sim_s(split, tier) for split, n in sims.items() for tier in self._tiers(split)
        )
        seconds += sum(self._cosmologies(split, n) * sim.theory_s() for split, n in sims.items())
        if self.plan.emulator:
            n_chunks = len(self.plan.training_chunks())
            seconds += n_chunks * jobs["compute_training_power"].core_s
            seconds += jobs["train_emulator"].core_s
        seconds += jobs["pretrain_compressor"].core_s
        fits = len(self.plan.runs) * self.cost["mean_fit"]
        seconds += fits * jobs["finetune_compressor"].core_s
        return (seconds + jobs["compute_kernels"].core_s + jobs["compute_whitening"].core_s) / HOUR

    def disk_gb(self) -> float:
        """Return the size of all maps, spectra and kernels (GB)."""
        sims, sim = self.plan.sims, self.sim
        maps = sum(n * len(self._tiers(split)) for split, n in sims.items()) * sim.map_values()
        theory = sum(self._cosmologies(s, n) * sim.spectra_gib(s) for s, n in sims.items())
        return maps * FLOAT / GB + (theory + sim.kernels_gib()) * GIB / GB

    def _tiers(self, split: str) -> list[str]:
        return self.plan.splits[split]

    def _cosmologies(self, split: str, n_sims: int) -> int:
        return -(-n_sims // realisations(split, self.config["simulate"]))

    def _chunk(self, split: str) -> int:
        return min(self.plan.simulate["chunk_size"][kind(split)], self.plan.sims[split])

    def _theory_jobs(self) -> dict[str, Job]:
        sim, emulator = self.sim, self.config["theory"]["emulator"]
        cosmologies = {s: self._cosmologies(s, self._chunk(s)) for s in self.plan.splits}
        spectra = max(n * sim.spectra_gib(s) for s, n in cosmologies.items())
        most = max(cosmologies.values())
        one_mesh = self.cost["cell_bytes"] * sim.size["n_mesh"] ** 3 / GIB
        draws = self.config["simulate"]["n_calibration"]
        projections = draws + FINER * min(N_FINER, draws)
        sky = (1 + FINER) * sim.sky_gib()
        training = emulator["chunk_size"] * emulator["n_amplitudes"] * self.cost["power_s"]
        return {
            "compute_kernels": Job(sim.scaled("kernels"), 2 * sim.kernels_gib()),
            "compute_spectra": Job(most * sim.theory_s(), COPIES * spectra + 2 * sim.kernels_gib()),
            "compute_whitening": Job(
                projections * sim.scaled("light_cone"),
                one_mesh + sky + sim.kernels_gib(),
                self.config["simulate"]["threads"],
            ),
            "compute_training_power": Job(training, 0.5),
            "train_emulator": Job(emulator["networks"]["steps"] * self.cost["step_s"], 0.5),
        }

    def _sim_jobs(self) -> dict[str, Job]:
        sim, threads = self.sim, self.config["simulate"]["threads"]
        cheap = {s: t for s, t in self.plan.splits.items() if s in ("bulk", "validation")}
        costly = {s: t for s, t in self.plan.splits.items() if s not in cheap}
        found = {}
        for rule, chosen in (("simulate_maps", cheap), ("simulate_costly_maps", costly)):
            runs = [(split, tier) for split, tiers in chosen.items() for tier in tiers]
            found[rule] = Job(
                max(self._chunk(s) * sim.sim_s(s, t) for s, t in runs),
                max(sim.mesh_gib(s, t) + self._maps_gib(self._chunk(s)) for s, t in runs)
                + sim.sky_gib(),
                threads,
            )
        most = max(self._chunk(split) for split in self.plan.splits)
        # band powers: the transforms of the bins, as those of the shells
        share = sim.n_bins / sim.n_shells
        bands = Job(most * share * sim.scaled("lognormal"), self._maps_gib(most) + sim.sky_gib())
        return found | {"measure_spectra": bands, "measure_speed": Job(self.cost["speed_s"], 3.0)}

    def _training_jobs(self) -> dict[str, Job]:
        sims, infer = self.plan.sims, self.config["infer"]
        cheap = sims["bulk"] + sims["validation"]
        pairs = sum(2 * n for split, n in sims.items() if kind(split) == "pairs")
        values, threads = self.sim.map_values(), infer["threads"]
        # patience ends fine-tuning, whose max_epochs are many, after about as many as pretraining
        pretraining = self.config["compress"]["pretraining"]
        epochs = pretraining["max_epochs"]
        sim_s = self.cost["value_s"] * values * epochs
        n_runs = len(self.plan.runs) * self.cost["posterior_s"]
        # all maps once, the chunk that is being read, and what a batch needs
        beside = 2 * max(map(self._chunk, sims))
        beside += WORK * max(pretraining["batch_size"], infer["training"]["batch_size"])
        return {
            "pretrain_compressor": Job(cheap * sim_s, self._maps_gib(cheap + beside), threads),
            "finetune_compressor": Job(
                (cheap + pairs) * sim_s, self._maps_gib(cheap + pairs + beside), threads
            ),
            "sample_posterior": Job(
                n_runs * sims["test"], self._maps_gib(sims["test"] + beside), threads
            ),
            "score_posterior": Job(n_runs * sims["test"], 1.0),
            "tabulate_pairing": Job(
                pairs * self.sim.scaled("lognormal"), COPIES * self._maps_gib(pairs)
            ),
        }

    def _maps_gib(self, n_sims: int) -> float:
        return n_sims * self.sim.map_values() * FLOAT / GIB


def _figure(value: float) -> str:
    """Write two digits of a small number and all whole ones of a large one."""
    return f"{value:.0f}" if value >= 10 else f"{value:.2g}"


def _round_up(value: float, step: int) -> int:
    return step * math.ceil(value / step)
