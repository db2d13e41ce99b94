"""Measure the pseudo band powers of a chunk of shear maps."""

from mflens.compress.bandpowers import measure_band_powers
from mflens.files.io import read_hdf5, write_hdf5
from mflens.run.job import start_job


def main(maps: str, spectra: str, bands: list[int], tier: str, split: str, chunk: str) -> None:
    """Write `sim, cosmology, theta, spectra`."""
    arrays, attributes = read_hdf5(maps, ["sim", "cosmology", "theta", "maps", "pixel"])
    values, labels = measure_band_powers(
        arrays["maps"], arrays["pixel"], int(attributes["nside"]), bands
    )
    datasets = {name: arrays[name] for name in ("sim", "cosmology", "theta")} | {"spectra": values}
    kept = {"tier": tier, "split": split, "chunk": chunk, "features": labels, "bands": bands}
    write_hdf5(spectra, datasets, kept)


if __name__ == "__main__":
    start_job(snakemake)  # noqa: F821
    main(**snakemake.input, **snakemake.output, **snakemake.params, **snakemake.wildcards)  # noqa: F821
