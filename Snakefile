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


include: "workflow/rules/common.smk"
include: "workflow/rules/theory.smk"
include: "workflow/rules/simulate.smk"
include: "workflow/rules/compress.smk"
include: "workflow/rules/infer.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/tasks.smk"
include: "workflow/rules/tasks_design.smk"
include: "workflow/rules/tasks_report.smk"


rule all:
    message:
        "Posteriors, calibration, figures and tables of the run are complete."
    default_target: True
    input:
        tables=TABLES,
        figures=FIGURES,
