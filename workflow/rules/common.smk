from snakemake.exceptions import WorkflowError

from mflens.check import check_config
from mflens.dependencies import fingerprint
from mflens.errors import MflensError
from mflens.plan import Plan
from mflens.run_folder import claim, forget_the_future
from mflens.tasks.plan import TaskPlan
from mflens.theory.parameters import given

try:
    check_config(config)
except MflensError as error:
    raise WorkflowError(str(error)) from None

# an overlay takes a parameter out by null
config["theory"]["parameters"] = given(config["theory"]["parameters"])
RESULTS = config["results_dir"]
LADDER = config["ladder"]
PLAN = Plan(config)
TASKS = TaskPlan(config)
os.environ["MFLENS_RUN"] = str(os.getpid())  # jobs end with it: `mflens.job.end_with_run`
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
        run_lock = claim(RESULTS)
    except MflensError as error:
        raise WorkflowError(str(error)) from None
    forget_the_future(RESULTS)


onerror:
    print(
        "What is finished is kept: mend what the messages above name, then run the same command "
        "again. A job that ended without a message was killed, most often for want of memory."
    )


def code(rule_name):
    """Fingerprint of a rule's script and the package modules behind it."""
    classes = USER_CLASSES if rule_name == "simulate_maps" else []
    return fingerprint(f"{workflow.basedir}/scripts/{rule_name}.py", classes)
