from mflens.tasks.design import DesignPlan

DESIGN = DesignPlan(config)


wildcard_constraints:
    ablation="|".join(DESIGN.all_studies()),


rule measure_task_levels:
    message:
        "Measure costs and variances of the levels of {wildcards.task} with a pilot."
    input:
        data=DESIGN.pilot_data,
    output:
        levels=f"{RESULTS}/{{task}}/measure_levels/levels.csv",
    params:
        code("measure_task_levels"),
        settings=DESIGN.pilot,
        seed=config["seed"],
    conda:
        "../../envs/mflens.yaml"
    log:
        f"{RESULTS}/logs/{{task}}/measure_levels/levels.log",
    benchmark:
        f"{RESULTS}/benchmarks/{{task}}/measure_levels/levels.tsv"
    resources:
        **NEEDS.of("measure_task_levels"),
    script:
        "../../scripts/measure_task_levels.py"


rule tabulate_task_allocation:
    message:
        "Plan how many sims of every level {wildcards.task} should have for its budget."
    input:
        levels=rules.measure_task_levels.output.levels,
    output:
        allocation=report(
            f"{RESULTS}/{{task}}/tabulate_allocation/allocation.csv",
            caption="../report/tabulate_task_allocation.rst",
            category="{task}",
            labels={"table": "Sample allocation"},
        ),
        markdown=f"{RESULTS}/{{task}}/tabulate_allocation/allocation.md",
    params:
        code("tabulate_task_allocation"),
        allocations=DESIGN.allocations,
        n_folds=DESIGN.n_folds,
    conda:
        "../../envs/mflens.yaml"
    log:
        f"{RESULTS}/logs/{{task}}/tabulate_allocation/allocation.log",
    benchmark:
        f"{RESULTS}/benchmarks/{{task}}/tabulate_allocation/allocation.tsv"
    resources:
        **NEEDS.of("tabulate_task_allocation"),
    script:
        "../../scripts/tabulate_task_allocation.py"


rule finetune_task_ablations:
    message:
        "Fit and score methods on {wildcards.task} at all settings of {wildcards.ablation}."
    output:
        scores=f"{RESULTS}/{{task}}/finetune_ablations/{{ablation}}.csv",
    params:
        code("finetune_task_ablations"),
        settings=DESIGN.study,
        seed=config["seed"],
    conda:
        "../../envs/mflens.yaml"
    log:
        f"{RESULTS}/logs/{{task}}/finetune_ablations/{{ablation}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/{{task}}/finetune_ablations/{{ablation}}.tsv"
    resources:
        **NEEDS.of("finetune_task_ablations"),
    script:
        "../../scripts/finetune_task_ablations.py"


rule tabulate_task_ablations:
    message:
        "Put all ablations on {wildcards.task} into one table."
    input:
        scores=DESIGN.of_studies,
    output:
        ablations=report(
            f"{RESULTS}/{{task}}/tabulate_ablations/ablations.csv",
            caption="../report/tabulate_task_ablations.rst",
            category="{task}",
            labels={"table": "Ablations"},
        ),
        markdown=f"{RESULTS}/{{task}}/tabulate_ablations/ablations.md",
    params:
        code("tabulate_task_ablations"),
    conda:
        "../../envs/mflens.yaml"
    log:
        f"{RESULTS}/logs/{{task}}/tabulate_ablations/ablations.log",
    benchmark:
        f"{RESULTS}/benchmarks/{{task}}/tabulate_ablations/ablations.tsv"
    resources:
        **NEEDS.of("tabulate_task_ablations"),
    script:
        "../../scripts/tabulate_task_ablations.py"


rule plot_task_ablations:
    message:
        "Draw all ablations on {wildcards.task}."
    input:
        ablations=rules.tabulate_task_ablations.output.ablations,
    output:
        pdf=f"{RESULTS}/{{task}}/plot_ablations/ablations.pdf",
        png=report(
            f"{RESULTS}/{{task}}/plot_ablations/ablations.png",
            caption="../report/plot_task_ablations.rst",
            category="{task}",
            labels={"figure": "Ablations"},
        ),
    params:
        code("plot_task_ablations"),
        studies=DESIGN.studies,
        metrics=DESIGN.ablation_metrics,
    conda:
        "../../envs/mflens.yaml"
    log:
        f"{RESULTS}/logs/{{task}}/plot_ablations/ablations.log",
    benchmark:
        f"{RESULTS}/benchmarks/{{task}}/plot_ablations/ablations.tsv"
    resources:
        **NEEDS.of("plot_task_ablations"),
    script:
        "../../scripts/plot_task_ablations.py"


ALLOCATION_PRODUCTS = list(rules.tabulate_task_allocation.output)
ABLATION_PRODUCTS = [*rules.tabulate_task_ablations.output, *rules.plot_task_ablations.output]
DESIGN_PRODUCTS = {
    task: ALLOCATION_PRODUCTS * (task in DESIGN.of("allocation"))
    + ABLATION_PRODUCTS * (task in DESIGN.of("ablations"))
    for task in DESIGN.experiments
}
