"""Check every product of the run: its bytes, and whether all that made it is as it is now."""

import logging
from typing import Any

from mflens.errors import DataError
from mflens.run.job import start_job
from mflens.run.verify import faults, report, verify


def main(config: dict[str, Any]) -> None:
    """Log what is not as it should be.

    Raises
    ------
    DataError
        If anything is broken, stale or missing.
    """
    found = verify(config)
    for line in report(found):
        logging.info("%s", line)
    wrong = faults(found)
    if wrong:
        raise DataError(
            f"{len(wrong)} of {len(found)} products of {config['results_dir']} are broken, stale "
            "or missing; `python -m mflens.run.verify --repair` removes what is broken or stale."
        )


if __name__ == "__main__":
    start_job(snakemake)  # noqa: F821
    main(**snakemake.input, **snakemake.output, **snakemake.params)  # noqa: F821
