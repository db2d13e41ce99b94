"""Train the emulator of the power spectra and measure its error on held-out cosmologies."""

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from mflens.errors import DataError
from mflens.files.io import read_hdf5, save_model, write_markdown, write_table
from mflens.run.job import start_job
from mflens.theory.emulator.domain import Domain
from mflens.theory.emulator.training import measure_errors, train_emulator


def main(
    training_spectra: Sequence[str],
    validation_spectra: Sequence[str],
    emulator: str,
    history: str,
    errors: str,
    errors_markdown: str,
    parameters: dict[str, Any],
    k_max: float,
    nonlinear: str,
    networks: dict[str, Any],
    max_error_percent: float,
    seed: int,
) -> None:
    """Write the networks, the history of their training and the table of their errors.

    Raises
    ------
    DataError
        If the error is larger than the config accepts.
    """
    domain = Domain.of(parameters, nonlinear)
    trained, rows = train_emulator(
        read_spectra(training_spectra), domain, nonlinear, k_max, **networks, seed=seed
    )
    table = measure_errors(trained, read_spectra(validation_spectra))
    trained.errors = table.to_dict("records")
    logging.info("error in per cent on held-out cosmologies: %s", trained.accuracy)
    if (error := trained.accuracy["nonlinear_q99"]) > max_error_percent:
        raise DataError(
            f"theory.emulator.max_error_percent: the emulator's error is {error:.2g}, above "
            f"{max_error_percent:g}; raise theory.emulator.n_training, or set theory.power to camb."
        )
    save_model(emulator, *trained.to_state())
    write_table(history, pd.DataFrame(rows))
    write_table(errors, table)
    write_markdown(errors_markdown, table)


def read_spectra(paths: Sequence[str]) -> dict[str, np.ndarray]:
    """Read chunks of spectra and join them."""
    chunks = [read_hdf5(path)[0] for path in paths]
    return {name: np.concatenate([chunk[name] for chunk in chunks]) for name in chunks[0]}


if __name__ == "__main__":
    start_job(snakemake)  # noqa: F821
    main(**snakemake.input, **snakemake.output, **snakemake.params)  # noqa: F821
