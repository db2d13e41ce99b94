"""mflens: posteriors of cosmology from cheap and expensive simulations that share their phases."""

import os
import sys

from snakemake.utils import min_version

min_version("9.19")

# the package beside this file is the one that runs, in this process and in every job
sys.path.insert(0, f"{workflow.basedir}/workflow")
os.environ.update(PYTHONPATH=os.pathsep.join(filter(None, [sys.path[0], os.getenv("PYTHONPATH")])))


for name in ["config", "g_and_k", "ornstein_uhlenbeck", "toggle_switch", "camels"]:

    configfile: f"{workflow.basedir}/config/{name}.yaml"


STAGES = "theory simulate compress infer evaluate report tasks tasks_design tasks_report benchmarks"
for name in ["common", *STAGES.split(), "report_verify"]:

    include: f"workflow/rules/{name}.smk"


rule all:
    message:
        "Posteriors, calibration, figures and tables of the run are complete."
    default_target: True
    input:
        tables=TABLES,
        figures=FIGURES,
        removed=REMOVED,


rule benchmarks:
    message:
        "Speed, scaling and the estimate for a survey run are in tables."
    input:
        rules.tabulate_benchmarks.output,
