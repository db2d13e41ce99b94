"""Which runs the benchmarks consist of."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

CASES = ("lognormal", "example", "particle_mesh", "memory", "throughput")
ROUNDS = 2
MANY_SIMS = 65
N_SIMS = {"lognormal": 100, "particle_mesh": 4}
ONE_STEP_PER_SHELL = {"max_step_ln_a": 1.0}


@dataclass(frozen=True)
class Run:
    """One measurement.

    Attributes
    ----------
    case
        Name of a class of `mflens.benchmarks.cases`.
    nside, n_shells, n_mesh
        Its resolution.
    threads, processes
        Threads of each process, and processes side by side.
    options
        Further arguments of the case.
    tier_options
        Options of the tier `particle_mesh` that differ from the config's.
    """

    case: str
    nside: int
    n_shells: int
    n_mesh: int
    threads: int = 1
    processes: int = 1
    options: Mapping[str, Any] = field(default_factory=dict)
    tier_options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> dict[str, Any]:
        """What tells this run's measurements from those of others, by name of the column."""
        options = self.options
        own = {"tier": options.get("tier", "-"), "n_sims": options.get("n_sims", 1)}
        shape = {"threads": self.threads, "processes": self.processes}
        return {"case": self.case, **own, **self.size, **shape}

    @property
    def size(self) -> dict[str, int]:
        """Resolution by name."""
        return {"nside": self.nside, "n_shells": self.n_shells, "n_mesh": self.n_mesh}


def runs(case: str, options: Mapping[str, Any]) -> list[Run]:
    """Return the runs of a case of the benchmarks, in the order in which they are made.

    Parameters
    ----------
    case
        One of `CASES`.
    options
        The config's `benchmarks`.
    """
    nside, n_mesh, n_shells = options["nside"], options["n_mesh"], options["n_shells"]
    first = (nside[0], n_shells, n_mesh[0])
    repeated = {"repetitions": options["repetitions"]}
    if case == "lognormal":
        sizes = [(n, n_shells) for n in nside]
        sizes += [(nside[0], n_shells // 2), (nside[0], 2 * n_shells)]
        return [Run("LognormalSim", *size, n_mesh[0], options=repeated) for size in sizes]
    if case == "example":
        # it takes turns with sims of its own size: a machine's speed drifts
        found = [
            Run(name, n, n_shells, n_mesh[0], options=made)
            for n in nside
            for _ in range(ROUNDS)
            for name, made in (("GlassExample", {}), ("LognormalSim", repeated))
        ]
        return [*found, Run("CambPower", *first)]
    if case == "particle_mesh":
        # one and two threads take turns; short sims are repeated and take more of them
        options_of = {n: repeated if n == n_mesh[0] else {"repetitions": 1} for n in n_mesh}
        rounds_of = {n: 2 * ROUNDS if n == n_mesh[0] else ROUNDS for n in n_mesh}
        found = [
            Run("MeshSim", nside[0], n_shells, n, threads, options=options_of[n])
            for n in n_mesh
            for _ in range(rounds_of[n])
            for threads in (1, 2)
        ]
        found += [Run("PyscoSteps", nside[0], n_shells, n, options=options_of[n]) for n in n_mesh]
        return [
            *found,
            Run("MeshSim", nside[1], n_shells, n_mesh[0], options=options_of[n_mesh[0]]),
        ]
    if case == "memory":
        large, once = options["memory"], {"repetitions": 0}
        size = (large["nside"], n_shells, large["n_mesh"])
        found = [Run("LognormalMemory", *first, options={"n_sims": n}) for n in (1, MANY_SIMS)]
        return [*found, Run("MeshSim", *size, options=once, tier_options=ONE_STEP_PER_SHELL)]
    found = [Run("Arithmetic", *first, processes=n) for _ in range(ROUNDS) for n in (1, 2)]
    return found + [
        Run("Throughput", *first, processes=processes, options={"tier": tier, "n_sims": n_sims})
        for tier, n_sims in N_SIMS.items()
        for _ in range(ROUNDS)
        for processes in (1, 2)
    ]
