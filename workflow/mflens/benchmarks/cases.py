"""What is measured: each case prepares a small world and then times its parts.

Core-seconds (CPU time) are medians over repetitions, in which a sim and the transforms that it is
compared with take turns; the gain of a second thread or process is measured in wall time.
"""

import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property, partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from mflens.files.io import load_model, write_hdf5
from mflens.prior import Prior
from mflens.simulate import harmonics
from mflens.simulate.chunk import Matching, Sim, simulate_chunk
from mflens.simulate.mesh.lightcone import Mesh
from mflens.simulate.survey.survey import make_survey
from mflens.simulate.tiers import Draw, Sky, make_tier
from mflens.theory.cosmology import (
    Cosmology,
    Geometry,
    PowerSource,
    make_cosmology,
    make_geometry,
)
from mflens.theory.kernels import Shells, compute_kernels, node_wavenumbers, wavenumbers
from mflens.theory.power import Power, camb_parameters, compute_power
from mflens.theory.spectra import compress_kernels

N_WRITTEN = 16
N_CORRELATED = 3
N_MATRIX, N_PRODUCTS = 200, 20_000


class World:
    """The sky, the survey and the tiers that the cases share.

    Parameters
    ----------
    theory
        The config's `theory`: the cosmology in the middle of the prior, the depth of the shells.
    mesh, tiers, survey
        As in the config's `simulate`.
    nside, n_shells, n_mesh
        Resolution of the maps (up to l = 2 nside), shells and mesh cells per side.
    emulator
        File of the emulator of the power spectra, where it stands in for CAMB.
    """

    def __init__(
        self,
        theory: Mapping[str, Any],
        mesh: Mapping[str, Any],
        tiers: Mapping[str, Any],
        survey: Mapping[str, Any],
        nside: int,
        n_shells: int,
        n_mesh: int,
        emulator: str | None = None,
    ) -> None:
        self.prior, self.emulator = Prior(theory["parameters"]), emulator
        self.nonlinear, self.k_max = theory["nonlinear"], theory["k_max_h_mpc"]
        self.parameters = self.another(0)
        depth = theory["shells"]["n_shells"] * theory["shells"]["thickness_mpc_h"]
        box = Mesh(n_mesh, mesh["box_mpc_h"], 2 * nside)
        self.sky = Sky(Shells(n_shells, depth / n_shells), nside, 2 * nside, box)
        self.survey = make_survey(survey, nside)
        self.tiers = tiers

    def tier(self, name: str) -> Any:
        """Return a tier with the config's options."""
        return make_tier(name, self.tiers[name], self.sky)

    def kernels(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the compressed projection kernels and their nodes (h/Mpc)."""
        k = wavenumbers(self.sky.shells, self.k_max, self.sky.mesh.box_mpc_h)
        nodes = node_wavenumbers(k)
        full = compute_kernels(self.sky.shells, k, self.sky.ell_max)
        return compress_kernels(full, k, nodes), nodes

    def another(self, number: int) -> dict[str, float]:
        """Return parameters that no other sim of the case has."""
        u = np.full(len(self.prior.names), 0.5 + 1e-4 * number)
        return self.prior.complete(self.prior.from_unit(u[None])[0])

    @cached_property
    def power(self) -> PowerSource:
        """What computes the power spectra in a run: the emulator or CAMB."""
        if self.emulator is None:
            return lambda cosmology, z, k_max, _: compute_power(cosmology, z, k_max, self.nonlinear)
        from mflens.theory.emulator.networks import Emulator

        return Emulator.from_state(*load_model(self.emulator)).power

    def cosmology(self) -> Cosmology:
        """Return the cosmology with everything."""
        arrays = self.kernels()
        return make_cosmology(
            0, self.parameters, self.sky.shells, *arrays, self.nonlinear, self.power
        )

    def plain_cosmology(self) -> Cosmology:
        """Return a cosmology that mesh tiers can run: without spectra of the shells."""
        geometry = make_geometry(self.parameters, self.sky.shells)
        power = compute_power(self.parameters, np.zeros(1), self.k_max, self.nonlinear)
        n = self.sky.shells.n_shells
        any_power, none = np.ones((n, power.k.size)), np.zeros((self.sky.ell_max + 1, n, n))
        return Cosmology(
            **vars(geometry), id=0, k=power.k, linear=power.linear, nonlinear=any_power,
            spectra=none,
        )  # fmt: skip

    def plain_matching(self) -> Matching:
        """Return a matching with which whitening does its work, whatever the numbers mean."""
        n, n_ell = self.sky.shells.n_shells, self.sky.ell_max + 1
        covariance = np.broadcast_to(np.eye(n), (n_ell, n, n))
        return Matching(covariance, np.full((n_ell, n), 1e-6), np.ones((n, n_ell)))


class LognormalSim(World):
    """A cheap sim, its parts, and the spherical transforms that it cannot do without."""

    def __init__(self, repetitions: int, **world: Any) -> None:
        super().__init__(**world)
        self.repetitions = repetitions
        self.arrays, self.kernels_s = timed(self.kernels, time.process_time)
        self.made = self.tier("lognormal")
        self.once(0)

    def measure(self) -> dict[str, float]:
        """Return medians over the repetitions, and the seconds that the kernels took once."""
        rounds = [self.once(number) for number in range(1, self.repetitions + 1)]
        found = {part: median(one[part] for one in rounds) for part in rounds[0]}
        return found | {"kernels_s": self.kernels_s}

    def once(self, number: int) -> dict[str, float]:
        """Time a new cosmology, a sim of it and the bare transforms.

        `cosmology_s` is all that a new cosmology costs beyond `power_s` and one more sim.
        """
        seconds: dict[str, float] = {}

        def power(*arguments: Any) -> Power:
            found, seconds["power_s"] = timed(partial(self.power, *arguments), time.process_time)
            return found

        parameters, shells = self.another(number), self.sky.shells
        weights, k = self.arrays
        cosmology, theory = timed(
            lambda: make_cosmology(number, parameters, shells, weights, k, self.nonlinear, power),
            time.process_time,
        )

        def read() -> Cosmology:
            # a file of theory holds no geometry
            return Cosmology(**(vars(cosmology) | vars(make_geometry(parameters, shells))))

        def simulate(source: Callable[[], Cosmology]) -> dict[str, np.ndarray]:
            sims = [Sim(number, number, source, None)]
            return simulate_chunk(sims, self.made, self.survey, self.sky, 0)

        _, new = timed(partial(simulate, read), time.process_time)
        made, same = timed(partial(simulate, lambda: cosmology), time.process_time)
        seconds["cosmology_s"] = theory - seconds["power_s"] + max(new - same, 0.0)
        seconds["sim_s"] = same
        seconds["write_s"] = self.write(made["maps"])
        return seconds | {"transforms_s": self.transforms()}

    def write(self, maps: np.ndarray) -> float:
        """Return the seconds that writing one sim's maps takes, in a chunk of several."""
        with tempfile.TemporaryDirectory() as folder:
            chunk = {"maps": np.repeat(maps, N_WRITTEN, axis=0)}
            path = Path(folder) / "maps.h5"
            return timed(lambda: write_hdf5(path, chunk, {}), time.process_time)[1] / N_WRITTEN

    def transforms(self) -> float:
        """Time the transforms of one sim: each shell to a map, each bin's convergence to shear."""
        nside, ell_max = self.sky.nside, self.sky.ell_max
        n_shells, n_bins = self.sky.shells.n_shells, self.survey.n_bins
        # in single precision, like a sim's
        shape = (n_shells, harmonics.degrees(ell_max).size)
        alm = np.random.default_rng(0).normal(size=shape).astype(np.complex64)
        pixel = self.survey.pixel_ring
        maps, shells = timed(
            lambda: harmonics.synthesise_many(alm, nside, ell_max), time.process_time
        )
        _, there = timed(lambda: harmonics.project(maps[0], ell_max), time.process_time)
        _, back = timed(
            lambda: harmonics.synthesise_shear(alm[0], nside, ell_max, pixel), time.process_time
        )
        return shells + n_bins * (there + back)


class CambPower(World):
    """The power spectra by CAMB, which the emulator stands in for."""

    def measure(self) -> dict[str, float]:
        """Time one cosmology."""
        z = make_geometry(self.parameters, self.sky.shells).shell_growth.z
        compute = partial(compute_power, self.parameters, z, self.k_max, self.nonlinear)
        return {"power_s": timed(compute, time.process_time)[1]}


class LognormalMemory(World):
    """Many cheap sims of one cosmology, for the memory they take."""

    def __init__(self, n_sims: int, **world: Any) -> None:
        super().__init__(**world)
        cosmology = self.cosmology()
        self.sims = [Sim(number, number, lambda: cosmology, None) for number in range(n_sims)]

    def measure(self) -> dict[str, float]:
        """Return the size of the maps, beside which all memory should be constant."""
        maps = simulate_chunk(self.sims, self.tier("lognormal"), self.survey, self.sky, 0)["maps"]
        return {"maps_gib": maps.nbytes / 2**30}


class MeshSim(World):
    """An expensive sim with seed matching, and its time steps."""

    def __init__(self, repetitions: int, **world: Any) -> None:
        super().__init__(**world)
        self.repetitions = repetitions
        self.made = self.tier("particle_mesh")
        cosmology, matching = self.plain_cosmology(), self.plain_matching()
        self.sims = [
            [Sim(number, number, lambda: cosmology, matching)] for number in range(repetitions + 1)
        ]

    def measure(self) -> dict[str, float]:
        """Return medians over the repetitions; the first sim is not counted."""
        rounds = [self.once(sims) for sims in self.sims]
        counted = rounds[1:] or rounds
        return {part: median(one[part] for one in counted) for part in rounds[0]}

    def once(self, sims: list[Sim]) -> dict[str, float]:
        """Time one sim by the clock, its time steps and all the rest in core-seconds."""
        from mflens.simulate.mesh.particles import Particles

        steps: list[float] = []
        step = Particles.step

        def timed_step(*arguments: Any) -> None:
            steps.append(timed(partial(step, *arguments), time.process_time)[1])

        Particles.step = timed_step  # type: ignore[assignment, method-assign]
        try:
            started = time.process_time()
            _, wall = timed(self.simulate(sims), time.perf_counter)
            core = time.process_time() - started
        finally:
            Particles.step = step  # type: ignore[method-assign]
        return {"wall_s": wall, "steps_s": sum(steps), "rest_s": core - sum(steps)}

    def simulate(self, sims: list[Sim]) -> Callable[[], np.ndarray]:
        """Return what makes the maps of a sim and, for matching, its low-fidelity phases."""

        def make() -> np.ndarray:
            made = MatchedTier(self.made)
            return simulate_chunk(sims, made, self.survey, self.sky, 0)["maps"]

        return make


class PyscoSteps(MeshSim):
    """The time steps of an expensive sim, taken by PySCo's own integrator."""

    def once(self, sims: list[Sim]) -> dict[str, float]:
        """Time PySCo over the steps of a sim, in turn with the sim's own."""
        from mflens.benchmarks.pysco import Box
        from mflens.simulate.mesh.particles import Particles

        boxes: list[Box] = []
        seconds: list[float] = []
        step = Particles.step

        def step_both(particles: Any, state: Any, a: float) -> None:
            if not boxes:
                boxes.append(Box(particles, state, self.sky.mesh.box_mpc_h))
            seconds.append(timed(partial(boxes[0].step, a), time.process_time)[1])
            step(particles, state, a)

        Particles.step = step_both  # type: ignore[assignment, method-assign]
        try:
            self.simulate(sims)()
        finally:
            Particles.step = step  # type: ignore[method-assign]
        return {"pysco_s": sum(seconds)}


class MatchedTier:
    """A mesh tier that also computes the white coefficients that its cheap partner would use."""

    def __init__(self, tier: Any) -> None:
        self.tier = tier

    def density_shells(self, cosmology: Cosmology, draw: Draw) -> Iterable[np.ndarray]:
        """Return the shells; see `Tier`."""
        assert draw.harmonics.size
        return self.tier.density_shells(cosmology, draw)


class Throughput(World):
    """Sims per second of a tier, beside other processes or alone."""

    def __init__(self, tier: str, n_sims: int, **world: Any) -> None:
        super().__init__(**world)
        self.made = self.tier(tier)
        cosmology = self.cosmology() if tier == "lognormal" else self.plain_cosmology()
        self.sims = [Sim(number, number, lambda: cosmology, None) for number in range(n_sims)]
        simulate_chunk(self.sims[:1], self.made, self.survey, self.sky, 0)

    def measure(self) -> dict[str, float]:
        """Return the rate in wall time."""
        _, seconds = timed(
            lambda: simulate_chunk(self.sims, self.made, self.survey, self.sky, 0),
            time.perf_counter,
        )
        return {"sims_per_s": len(self.sims) / seconds}


class Arithmetic(World):
    """Matrix products in a core's cache: what the machine's second core adds to the first."""

    def measure(self) -> dict[str, float]:
        """Return products per second in wall time."""
        matrix = np.random.default_rng(0).normal(size=(N_MATRIX, N_MATRIX))
        product = np.empty_like(matrix)

        def multiply() -> None:
            for _ in range(N_PRODUCTS):
                np.matmul(matrix, matrix, out=product)

        return {"products_per_s": N_PRODUCTS / timed(multiply, time.perf_counter)[1]}


class GlassExample(World):
    """The same sim as GLASS's example scripts make it: CAMB's source windows and healpy."""

    def measure(self) -> dict[str, float]:
        """Time one sim of one cosmology."""
        return {"sim_s": timed(self.simulate, time.process_time)[1]}

    def simulate(self) -> np.ndarray:
        """Return the complex shear of all bins, shape (n_bins, n_pix)."""
        import glass.ext.camb
        from astropy.utils.data import conf

        # healpy asks the network for weights and does without them
        conf.allow_internet = False
        ell_max, nside = self.sky.ell_max, self.sky.nside
        geometry = make_geometry(self.parameters, self.sky.shells)
        background, windows = geometry.background, glass_windows(self.sky.shells, geometry)
        params = camb_parameters(self.parameters)
        params.NonLinear = "NonLinear_both"
        spectra = glass.ext.camb.matter_cls(params, ell_max, windows)
        fields = glass.lognormal_fields(windows)
        near = glass.discretized_cls(spectra, lmax=ell_max, ncorr=N_CORRELATED)
        solved = glass.solve_gaussian_spectra(fields, near)
        shares = glass.partition(self.survey.z, self.survey.n_of_z, windows)
        shares = np.asarray(shares).reshape(len(windows), -1).T
        planes = glass.MultiPlaneConvergence(background)
        kappa = np.zeros((len(shares), 12 * nside**2))
        rng = np.random.default_rng(0)
        shells = glass.generate(fields, solved, nside, ncorr=N_CORRELATED, rng=rng)
        for delta, window, share in zip(shells, windows, shares.T, strict=True):
            planes.add_window(delta, window)
            kappa += share[:, None] * planes.kappa
        return np.stack(
            [
                glass.from_convergence(one, ell_max, shear=True, discretized=False)[0]
                for one in kappa
            ]
        )


def glass_windows(shells: Shells, geometry: Geometry) -> list[Any]:
    """Return GLASS's radial windows of the shells: volume weight inside, nothing outside."""
    import glass

    edges = geometry.distances.redshift(shells.edges)
    return glass.tophat_windows(edges, weight=glass.VolumeWeight(geometry.background))


def timed(work: Callable[[], Any], clock: Callable[[], float]) -> tuple[Any, float]:
    """Return what a piece of work returns and the seconds it took by this clock."""
    start = clock()
    result = work()
    return result, clock() - start
