import fcntl

from snakemake.exceptions import WorkflowError

from mflens.check import check_config
from mflens.dependencies import digest, fingerprint
from mflens.errors import MflensError
from mflens.plan import Plan
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
    # the lock dies with this process, so a killed run never blocks the next one
    Path(RESULTS).mkdir(parents=True, exist_ok=True)
    run_lock = open(Path(RESULTS) / ".lock", "w")
    try:
        fcntl.flock(run_lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise WorkflowError(f"another run is writing to '{RESULTS}'; wait for it or stop it.")


def code(rule_name):
    """Fingerprint of a rule's script, the modules behind it and, of maps, the user's files."""
    script = f"{workflow.basedir}/scripts/{rule_name}.py"
    if rule_name != "simulate_maps":
        return fingerprint(script)
    return fingerprint(script, USER_CLASSES) + digest(PLAN.survey_files)
