"""Who simulates what: splits, the tiers each runs on, their chunks, and where the files stand."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mflens.problems import AUTO

MESH_TIERS = ("lpt", "particle_mesh", "baryons")
DISK_TIERS = ("shells_on_disk", "shear_on_disk")
DISK_CLASSES = (
    "mflens.simulate.on_disk.ShellsOnDisk",
    "mflens.simulate.on_disk.ShearOnDisk",
)
WITHOUT_HIGH = ("prior", "low_only")
NEED_PAIRS = ("mlmc", "paired")
SPLIT_KINDS = ("bulk", "validation", "pairs", "test")


def splits(ladder: Sequence[str]) -> dict[str, list[str]]:
    """Return the tiers that every split is simulated on, by split.

    `bulk` and `validation` run on the cheapest tier, `test` on the top one, and `pairs_<tier>` on
    a tier and its lower neighbour. No sim belongs to two splits.
    """
    pairs = {f"pairs_{high}": [low, high] for low, high in zip(ladder, ladder[1:], strict=False)}
    return {"bulk": [ladder[0]], "validation": [ladder[0]], "test": [ladder[-1]], **pairs}


def kind(split: str) -> str:
    """Return the config's name of a split: `pairs` for `pairs_<tier>`, else its own."""
    return "pairs" if split.startswith("pairs_") else split


def n_sims(split: str, simulate: Mapping[str, Any]) -> int:
    """Return the number of sims of a split."""
    return simulate["sims"][kind(split)]


def n_chunks(split: str, simulate: Mapping[str, Any]) -> int:
    """Return the number of chunks of a split."""
    return -(-n_sims(split, simulate) // simulate["chunk_size"][kind(split)])


def realisations(split: str, simulate: Mapping[str, Any]) -> int:
    """Return how many sims of a split share one cosmology."""
    if kind(split) == "pairs":
        return simulate["mocks_per_run"]
    return simulate["realisations_per_cosmology"] if split in ("bulk", "validation") else 1


def uses_mesh(tier: str, simulate: Mapping[str, Any]) -> bool:
    """Say whether a tier's phases are those of the linear density on the mesh."""
    options = simulate["tiers"].get(tier, {})
    return tier in MESH_TIERS or bool(options.get("uses_mesh", False))


def on_disk(tier: str, simulate: Mapping[str, Any]) -> bool:
    """Say whether a tier reads sims that the user has."""
    return tier in DISK_TIERS or simulate["tiers"].get(tier, {}).get("class") in DISK_CLASSES


def is_lensed(tier: str, simulate: Mapping[str, Any]) -> bool:
    """Say whether a tier reads maps of shear, which no longer know the density."""
    named = simulate["tiers"].get(tier, {}).get("class")
    return named == DISK_CLASSES[1] if named else tier == DISK_TIERS[1]


def is_matched(split: str, ladder: Sequence[str], simulate: Mapping[str, Any]) -> bool:
    """Say whether the tiers of a split share their random numbers, which a file on disk fixes."""
    tiers = splits(ladder)[split]
    read = [on_disk(tier, simulate) for tier in tiers]
    return not any(read) or (all(read) and bool(simulate["tiers"][tiers[-1]]["paired"]))


def disk_splits(ladder: Sequence[str], simulate: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return the tiers on disk of the splits that have any, cheapest first."""
    found = {s: [t for t in tiers if on_disk(t, simulate)] for s, tiers in splits(ladder).items()}
    return {split: tiers for split, tiers in found.items() if tiers}


def shares_mesh(split: str, ladder: Sequence[str], simulate: Mapping[str, Any]) -> bool:
    """Say whether the sims of a split take their phases from the mesh: pairs with a mesh tier."""
    matched = kind(split) == "pairs" and is_matched(split, ladder, simulate)
    return matched and any(uses_mesh(t, simulate) for t in splits(ladder)[split])


def is_calibrated(split: str, ladder: Sequence[str], simulate: Mapping[str, Any]) -> bool:
    """Say whether the sims of a split need the calibration of the seed matching.

    They do where a tier without a mesh takes its phases from the mesh.
    """
    on_mesh = all(uses_mesh(tier, simulate) for tier in splits(ladder)[split])
    return shares_mesh(split, ladder, simulate) and not on_mesh


def runs(methods: Sequence[str], n_high: Sequence[int]) -> list[tuple[str, int]]:
    """Return every method with every number of high-fidelity sims; 0 where it uses none."""
    return [(m, n) for m in methods for n in ([0] if m in WITHOUT_HIGH else sorted(n_high))]


def inferred(parameters: Mapping[str, Any], nuisances: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters that inference sees: those of the cosmology and inferred nuisances.

    All other nuisances with a prior are marginalised: they vary from sim to sim, unseen.
    """
    seen = {k: v for k, v in nuisances.items() if isinstance(v, Mapping) and v["infer"]}
    return {**parameters, **seen}


def n_inferred(config: Mapping[str, Any]) -> int:
    """Return the number of parameters that inference sees and that have a prior."""
    seen = inferred(config["theory"]["parameters"], config["simulate"]["survey"]["nuisances"])
    return sum(isinstance(entry, Mapping) for entry in seen.values())


def compressor_network(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return `compress.network`, its `n_summaries` one for each inferred parameter if `auto`."""
    network = config["compress"]["network"]
    automatic = network["n_summaries"] == AUTO
    return {**network, "n_summaries": n_inferred(config) if automatic else network["n_summaries"]}


class Plan:
    """The plan of one config, in the terms of Snakemake rules.

    Methods that take `wildcards` read its attributes `tier`, `split` and `chunk`.

    Parameters
    ----------
    config
        The whole config, checked.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.simulate = config["simulate"]
        self.ladder = config["ladder"]
        theory = config["theory"]
        self.emulator = theory["emulator"] if theory["power"] == "emulator" else {}
        self.results = config["results_dir"]
        self.splits = splits(self.ladder)
        self.sims = {split: n_sims(split, self.simulate) for split in self.splits}
        self.runs = runs(config["infer"]["methods"], config["infer"]["n_high"])
        self.nuisances = self.simulate["survey"]["nuisances"]
        self.inferred = inferred(config["theory"]["parameters"], self.nuisances)
        self.network = compressor_network(config)
        self.disk_tiers = [tier for tier in self.ladder if on_disk(tier, self.simulate)]
        self.disk_splits = disk_splits(self.ladder, self.simulate)

    @property
    def sizes(self) -> list[list[Any]]:
        """Name, number of sims and sims per cosmology of every split, for the design."""
        return [[s, self.sims[s], realisations(s, self.simulate)] for s in self.splits]

    @property
    def simulations(self) -> dict[str, Any]:
        """Return what the cost of a method depends on (`cost.Simulations`)."""
        return {
            "splits": self.splits,
            "sims": self.sims,
            "simulated": [tier for tier in self.ladder if tier not in self.disk_tiers],
            "calibrated": [s for s in self.splits if is_calibrated(s, self.ladder, self.simulate)],
        }

    @property
    def sim_tables(self) -> list[str]:
        """Return the tables of the sims of all tiers on disk."""
        return [self.simulate["tiers"][tier]["table"] for tier in self.disk_tiers]

    @property
    def survey_files(self) -> list[str]:
        """Return the user's files that describe the survey: mask and redshift distributions."""
        mask, redshifts = (self.simulate["survey"][key] for key in ("mask", "redshifts"))
        path = mask.get("path") if isinstance(mask, Mapping) else mask
        files = [path] if path and path not in ("octant", "full") else []
        if redshifts["kind"] != "file":
            return files
        path = redshifts["path"]
        return [*files, *([path] if isinstance(path, str) else path)]

    @property
    def needs_mesh(self) -> bool:
        """Say whether any tier needs the mesh, and with it PySCo's functions."""
        return any(uses_mesh(tier, self.simulate) for tier in self.ladder)

    def first_sim(self, wildcards: Any) -> int:
        """Return the position of a chunk's first sim in its split."""
        return int(wildcards.chunk) * self.simulate["chunk_size"][kind(wildcards.split)]

    def last_sim(self, wildcards: Any) -> int:
        """Return the position behind a chunk's last sim in its split."""
        size = self.simulate["chunk_size"][kind(wildcards.split)]
        return min(self.first_sim(wildcards) + size, self.sims[wildcards.split])

    def n_convergence(self, wildcards: Any) -> int:
        """Return how many sims of a chunk keep their convergence: the first pairs."""
        wanted = self.simulate["n_convergence"] if kind(wildcards.split) == "pairs" else 0
        first, last = self.first_sim(wildcards), self.last_sim(wildcards)
        return min(max(wanted - first, 0), last - first)

    def mesh(self, wildcards: Any) -> Mapping[str, Any] | None:
        """Return the mesh whose phases the sims of a split share, None where there is none."""
        shared = shares_mesh(wildcards.split, self.ladder, self.simulate)
        return self.simulate["mesh"] if shared else None

    def whitening(self, wildcards: Any) -> dict[str, str]:
        """Return the calibration of the seed matching as input of the sims that share a mesh."""
        file = f"{self.results}/compute_whitening/whitening.h5"
        return {"whitening": file} if self.mesh(wildcards) else {}

    def tier_options(self, wildcards: Any) -> dict[str, Any]:
        """Return what one tier needs of the section `simulate`, and nothing that others need."""
        chosen = {key: self.simulate[key] for key in ("nside", "ell_max", "mesh", "survey")}
        tiers, pairs = self.simulate["tiers"], kind(wildcards.split) == "pairs"
        chosen["mocks_per_run"] = self.simulate["mocks_per_run"] if pairs else 1
        return chosen | {"tiers": {wildcards.tier: tiers.get(wildcards.tier, {})}}

    def chunks(self, rule: str, split: str, tier: str = "") -> list[str]:
        """Return the files that a rule makes of one split (and tier)."""
        folder = "/".join(filter(None, [self.results, rule, tier, split]))
        return [f"{folder}/{chunk}.h5" for chunk in range(n_chunks(split, self.simulate))]

    def files(self, rule: str, kinds: Sequence[str] = SPLIT_KINDS) -> list[str]:
        """Return the files that a rule makes of the splits of these kinds, over their tiers."""
        chosen = [(s, t) for s, tiers in self.splits.items() if kind(s) in kinds for t in tiers]
        return [file for split, tier in chosen for file in self.chunks(rule, split, tier)]

    def products(self, rule: str, suffix: str) -> list[str]:
        """Return the files that a rule makes of every method and number of expensive sims."""
        return [f"{self.results}/{rule}/{method}/{n}{suffix}" for method, n in self.runs]

    def simulation_benchmarks(self) -> list[str]:
        """Return the benchmark files of all simulations and of their theory, emulator included."""
        theory = [file for split in self.splits for file in self.chunks("compute_spectra", split)]
        rules = ("simulate_maps", "measure_spectra")
        sims = [file for rule in rules for file in self.files(rule)]
        once = ["draw_parameters/parameters", "compute_kernels/kernels"]
        if any(shares_mesh(split, self.ladder, self.simulate) for split in self.splits):
            once.append("compute_whitening/whitening")
        files = [f"{self.results}/{file}" for file in once] + theory + sims
        return self.emulator_benchmarks() + self.benchmarks(files)

    def other_benchmarks(self) -> list[str]:
        """Return the benchmark files of what is done once beside simulating and fitting."""
        files = (
            "compile_functions/functions",
            "sample_posterior/samples",
            "score_posterior/scores",
        )
        return self.benchmarks([f"{self.results}/{file}" for file in files])

    def emulator_benchmarks(self) -> list[str]:
        """Return the benchmark files of the emulator, none where CAMB computes the power."""
        files = [f"compute_training_power/{part}" for part in self.training_chunks()]
        files += ["train_emulator/emulator"] if self.emulator else []
        return self.benchmarks([f"{self.results}/{file}" for file in files])

    def training_chunks(self) -> list[str]:
        """Return sample and chunk of every job that makes training spectra of the emulator."""
        return [
            f"{sample}/{chunk}"
            for sample in ("training", "validation")
            if self.emulator
            for chunk in range(-(-self.emulator[f"n_{sample}"] // self.emulator["chunk_size"]))
        ]

    def benchmarks(self, files: Sequence[str]) -> list[str]:
        """Return the benchmark files of the jobs that make these files."""
        below = [Path(file).relative_to(self.results).with_suffix(".tsv") for file in files]
        return [f"{self.results}/benchmarks/{path}" for path in below]
