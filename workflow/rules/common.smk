from copy import deepcopy

from snakemake.logging import logger

from mflens.run.check import check_config
from mflens.run.config_files import check_given, check_module, for_module, with_types
from mflens.files.dependencies import fingerprint
from mflens.errors import MflensError
from mflens.run.job import LIBRARY_SETTINGS
from mflens.run.needs import Needs
from mflens.run.plan import Plan
from mflens.files.provenance import DESCRIPTIONS
from mflens.run.resolve import resolve
from mflens.run.run_folder import AFTER_A_FAILURE, describe_results, open_results
from mflens.run.schema import with_numbers
from mflens.tasks.plan import TaskPlan

IS_MODULE = not workflow.modifier.is_main_snakefile()
VALUES = workflow.config_settings.config_args  # behind --config
try:
    if workflow.is_main_process:
        check_given(workflow.configfiles, VALUES, sys.argv[1:])
    if IS_MODULE:
        check_module(ROOT, workflow.modifier.path_modifier.replace_prefix("results/x"))
        config, aside = for_module(config)
        if aside and workflow.is_main_process:
            logger.info(f"mflens leaves aside what it does not know of its config: {aside}")
    config = with_numbers(with_types(config, VALUES))
    # jobs get the config that this process has checked
    if workflow.is_main_process:
        check_config(config)
except MflensError as error:
    raise WorkflowError(str(error)) from None

WHOLE_CONFIG = deepcopy(config)
resolve(config)
RESULTS, LADDER = config["results_dir"], config["ladder"]
PLAN = Plan(config)
NEEDS, TASKS = Needs(config, PLAN), TaskPlan(config)
os.environ.update(LIBRARY_SETTINGS, MFLENS_RUN=str(os.getpid()))  # jobs end with it: `end_with_run`
USER_CLASSES = [t["class"] for t in config["simulate"]["tiers"].values() if "class" in t]


wildcard_constraints:
    tier="|".join(LADDER),
    split="|".join(PLAN.splits),
    chunk=r"\d+",
    method="|".join(config["infer"]["methods"]),
    n_high=r"\d+",
    task="|".join(TASKS.experiments),
    experiment="|".join(TASKS.all_experiments()),
    run="|".join(TASKS.all_labels()),


onstart:
    global run_lock
    try:
        # `verify` compares results with any config
        run_lock = open_results(WHOLE_CONFIG, record=rules.verify.rule.name not in sys.argv)
    except MflensError as error:
        raise WorkflowError(str(error)) from None


# what the captions of a report say; after a run they say it of what the run made
config[DESCRIPTIONS] = describe_results(config)


onsuccess:
    config[DESCRIPTIONS] = describe_results(config)


onerror:
    print(AFTER_A_FAILURE)


def code(rule_name):
    """Fingerprint of a rule's script, the modules behind it and, of maps, the user's files."""
    script = f"{ROOT}/scripts/{rule_name}.py"
    if rule_name != "simulate_maps":
        return fingerprint(script)
    return fingerprint(script, USER_CLASSES, PLAN.survey_files)
