import fcntl

from snakemake.exceptions import WorkflowError

from mflens import plan
from mflens.check import check_config
from mflens.dependencies import fingerprint
from mflens.errors import MflensError

try:
    check_config(config)
except MflensError as error:
    raise WorkflowError(str(error)) from None

RESULTS = config["results_dir"]
LADDER = config["ladder"]
SPLITS = plan.splits(LADDER)
USER_CLASSES = [t["class"] for t in config["simulate"]["tiers"].values() if "class" in t]


wildcard_constraints:
    tier="|".join(LADDER),
    split="|".join(SPLITS),
    chunk=r"\d+",
    method="|".join(config["infer"]["methods"]),
    n_high=r"\d+",


onstart:
    # the lock dies with this process, so a killed run never blocks the next one
    Path(RESULTS).mkdir(parents=True, exist_ok=True)
    run_lock = open(Path(RESULTS) / ".lock", "w")
    try:
        fcntl.flock(run_lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise WorkflowError(f"another run is writing to '{RESULTS}'; wait for it or stop it.")


def code(rule_name):
    """Fingerprint of a rule's script and the package modules behind it."""
    classes = USER_CLASSES if rule_name == "simulate_maps" else []
    return fingerprint(f"{workflow.basedir}/scripts/{rule_name}.py", classes)


def chunk_files(rule_name, tier, split):
    """All chunk files of a rule for one tier and split."""
    chunks = range(plan.n_chunks(split, config["simulate"]))
    return [f"{RESULTS}/{rule_name}/{tier}/{split}/{chunk}.h5" for chunk in chunks]


def files_of(rule_name, kinds):
    """All chunk files of a rule for the splits of these kinds, over their tiers."""
    chosen = [(s, t) for s, tiers in SPLITS.items() if plan.kind(s) in kinds for t in tiers]
    return [file for split, tier in chosen for file in chunk_files(rule_name, tier, split)]
