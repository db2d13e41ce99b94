rule plot_task_methods:
    message:
        "Draw all methods on {wildcards.task} against the numbers of sims."
    input:
        methods=rules.tabulate_task_methods.output.methods,
    output:
        pdf=f"{RESULTS}/{{task}}/plot_methods/methods.pdf",
        png=report(
            f"{RESULTS}/{{task}}/plot_methods/methods.png",
            caption="../report/plot_task_methods.rst",
            category="{task}",
            labels={"figure": "Methods"},
        ),
    params:
        code("plot_task_methods"),
    conda:
        "../../envs/mflens.yaml"
    log:
        f"{RESULTS}/logs/{{task}}/plot_methods/methods.log",
    benchmark:
        f"{RESULTS}/benchmarks/{{task}}/plot_methods/methods.tsv"
    resources:
        **NEEDS.of("plot_task_methods"),
    script:
        "../../scripts/plot_task_methods.py"


rule plot_task_distributions:
    message:
        "Draw every test sim's scores on {wildcards.task}, {wildcards.experiment}."
    input:
        scores=TASKS.of_runs("score_methods", ".h5"),
    output:
        pdf=f"{RESULTS}/{{task}}/plot_distributions/{{experiment}}.pdf",
        png=report(
            f"{RESULTS}/{{task}}/plot_distributions/{{experiment}}.png",
            caption="../report/plot_task_distributions.rst",
            category="{task}",
            labels={"figure": "All test sims, {experiment}"},
        ),
    params:
        code("plot_task_distributions"),
        **TASKS.each("runs", "metrics"),
    conda:
        "../../envs/mflens.yaml"
    log:
        f"{RESULTS}/logs/{{task}}/plot_distributions/{{experiment}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/{{task}}/plot_distributions/{{experiment}}.tsv"
    resources:
        **NEEDS.of("plot_task_distributions"),
    script:
        "../../scripts/plot_task_distributions.py"


rule plot_task_coverage:
    message:
        "Draw the coverage of all methods on {wildcards.task}, {wildcards.experiment}."
    input:
        scores=TASKS.of_runs("score_methods", ".h5"),
    output:
        pdf=f"{RESULTS}/{{task}}/plot_coverage/{{experiment}}.pdf",
        png=report(
            f"{RESULTS}/{{task}}/plot_coverage/{{experiment}}.png",
            caption="../report/plot_task_coverage.rst",
            category="{task}",
            labels={"figure": "Coverage, {experiment}"},
        ),
    params:
        code("plot_task_coverage"),
        **TASKS.each("runs"),
    conda:
        "../../envs/mflens.yaml"
    log:
        f"{RESULTS}/logs/{{task}}/plot_coverage/{{experiment}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/{{task}}/plot_coverage/{{experiment}}.tsv"
    resources:
        **NEEDS.of("plot_task_coverage"),
    script:
        "../../scripts/plot_task_coverage.py"


rule plot_task_densities:
    message:
        "Draw what all methods learned of some test sims of {wildcards.task}, {wildcards.experiment}."
    input:
        unpack(TASKS.reference),
        tiers=rules.simulate_task_tiers.output.tiers,
        models=TASKS.of_runs("finetune_methods", ".pt"),
    output:
        pdf=f"{RESULTS}/{{task}}/plot_densities/{{experiment}}.pdf",
        png=report(
            f"{RESULTS}/{{task}}/plot_densities/{{experiment}}.png",
            caption="../report/plot_task_densities.rst",
            category="{task}",
            labels={"figure": "Examples, {experiment}"},
        ),
    params:
        code("plot_task_densities"),
        **TASKS.each("options", "estimator", "runs", "evaluate"),
        seed=config["seed"],
    conda:
        "../../envs/mflens.yaml"
    log:
        f"{RESULTS}/logs/{{task}}/plot_densities/{{experiment}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/{{task}}/plot_densities/{{experiment}}.tsv"
    resources:
        **NEEDS.of("plot_task_densities"),
    script:
        "../../scripts/plot_task_densities.py"


TASK_PRODUCTS = [*rules.tabulate_task_methods.output, *rules.plot_task_methods.output]
EXPERIMENT_PRODUCTS = [
    *rules.plot_task_distributions.output,
    *rules.plot_task_coverage.output,
    *rules.plot_task_densities.output,
]

for task, experiments in TASKS.experiments.items():

    rule:
        message:
            f"Tables and figures of the published task {task} are complete."
        input:
            expand(TASK_PRODUCTS, task=task),
            expand(EXPERIMENT_PRODUCTS, task=task, experiment=experiments),
            expand(DESIGN_PRODUCTS[task], task=task),
        name:
            task
