"""Snakemake whose SLURM plugin asks for its jobs every second: `python tests/impatient.py ...`.

The plugin waits ten seconds longer after every look at which no job had ended, and the jobs of the
tests take seconds.
"""

from snakemake.cli import main
from snakemake_executor_plugin_slurm import Executor

if __name__ == "__main__":
    Executor.next_seconds_between_status_checks = property(lambda _: 1, lambda *_: None)
    main()
