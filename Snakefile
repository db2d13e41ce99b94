"""mflens: posteriors of cosmology from cheap and expensive simulations that share their phases."""

import os
import sys

from snakemake.exceptions import WorkflowError
from snakemake.utils import min_version

min_version("9.19")

# of this file, also where another workflow uses it as a module; `workflow.basedir` is the other's
ROOT = str(workflow.current_basedir)
IS_FIRST = workflow.default_target is None  # no rule of another workflow stands before these
if not os.path.isdir(f"{ROOT}/workflow/mflens"):
    raise WorkflowError(f"{ROOT} is no clone of mflens on this machine; name the Snakefile of one.")
# the package beside this file is the one that runs, in this process and in every job
sys.path.insert(0, f"{ROOT}/workflow")
os.environ.update(PYTHONPATH=os.pathsep.join(filter(None, [sys.path[0], os.getenv("PYTHONPATH")])))

from mflens.run.run_folder import config_of_results

for name in ["config", "g_and_k", "ornstein_uhlenbeck", "toggle_switch", "camels"]:

    configfile: f"{ROOT}/config/{name}.yaml"


# a report describes the results, not the defaults of what its command line does not say
for path, folder in config_of_results(config, sys.argv):

    configfile: path

    config["results_dir"] = folder


STAGES = "theory simulate compress infer evaluate report tasks tasks_design tasks_report benchmarks"
for name in ["common", *STAGES.split(), "report_verify"]:

    include: f"workflow/rules/{name}.smk"


rule all:
    message:
        "Posteriors, calibration, figures and tables of the run are complete."
    default_target: IS_FIRST
    input:
        tables=TABLES,
        figures=FIGURES,
        removed=REMOVED,


rule benchmarks:
    message:
        "Speed, scaling and the estimate for a survey run are in tables."
    input:
        rules.tabulate_benchmarks.output,
