rule simulate_task_tiers:
    message:
        "Draw the sims of all repetitions of {wildcards.task}, {wildcards.experiment}."
    input:
        data=TASKS.data,
    output:
        tiers=f"{RESULTS}/{{task}}/simulate_tiers/{{experiment}}.h5",
    params:
        code("simulate_task_tiers"),
        **TASKS.each("options", "test", "repetitions", "shared"),
        levels=TASKS.levels,
        seed=config["seed"],
    conda:
        "../../envs/mflens.yaml"
    log:
        f"{RESULTS}/logs/{{task}}/simulate_tiers/{{experiment}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/{{task}}/simulate_tiers/{{experiment}}.tsv"
    resources:
        **NEEDS.of("simulate_task_tiers"),
    script:
        "../../scripts/simulate_task_tiers.py"


rule sample_task_reference:
    message:
        "Compute the exact answers of {wildcards.task}, {wildcards.experiment}."
    input:
        tiers=rules.simulate_task_tiers.output.tiers,
    output:
        reference=f"{RESULTS}/{{task}}/sample_reference/{{experiment}}.h5",
    params:
        code("sample_task_reference"),
        **TASKS.each("options", "estimator", "metrics", "evaluate"),
        seed=config["seed"],
    conda:
        "../../envs/mflens.yaml"
    log:
        f"{RESULTS}/logs/{{task}}/sample_reference/{{experiment}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/{{task}}/sample_reference/{{experiment}}.tsv"
    resources:
        **NEEDS.of("sample_task_reference"),
    script:
        "../../scripts/sample_task_reference.py"


rule finetune_task_methods:
    message:
        "Fit all methods to run {wildcards.run} of {wildcards.task}, {wildcards.experiment}."
    input:
        tiers=rules.simulate_task_tiers.output.tiers,
    output:
        models=f"{RESULTS}/{{task}}/finetune_methods/{{experiment}}/{{run}}.pt",
        history=f"{RESULTS}/{{task}}/finetune_methods/{{experiment}}/{{run}}.csv",
    params:
        code("finetune_task_methods"),
        **TASKS.each("options", "estimator", "n_folds", "n_summaries", "latent"),
        **TASKS.each("flow", "training", "correction", "mlmc"),
        **TASKS.each_of_run("levels", "methods"),
        seed=config["seed"],
    conda:
        "../../envs/mflens.yaml"
    log:
        f"{RESULTS}/logs/{{task}}/finetune_methods/{{experiment}}/{{run}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/{{task}}/finetune_methods/{{experiment}}/{{run}}.tsv"
    resources:
        **NEEDS.of("finetune_task_methods"),
    script:
        "../../scripts/finetune_task_methods.py"


rule score_task_methods:
    message:
        "Score all methods of run {wildcards.run} of {wildcards.task}, {wildcards.experiment}."
    input:
        unpack(TASKS.reference),
        tiers=rules.simulate_task_tiers.output.tiers,
        models=rules.finetune_task_methods.output.models,
    output:
        scores=f"{RESULTS}/{{task}}/score_methods/{{experiment}}/{{run}}.h5",
    params:
        code("score_task_methods"),
        **TASKS.each("options", "estimator", "evaluate"),
        seed=config["seed"],
    conda:
        "../../envs/mflens.yaml"
    log:
        f"{RESULTS}/logs/{{task}}/score_methods/{{experiment}}/{{run}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/{{task}}/score_methods/{{experiment}}/{{run}}.tsv"
    resources:
        **NEEDS.of("score_task_methods"),
    script:
        "../../scripts/score_task_methods.py"


rule tabulate_task_methods:
    message:
        "Put the scores of all methods on {wildcards.task} into tables, with paired differences."
    input:
        scores=TASKS.of_runs("score_methods", ".h5"),
    output:
        methods=f"{RESULTS}/{{task}}/tabulate_methods/methods.csv",
        markdown=f"{RESULTS}/{{task}}/tabulate_methods/methods.md",
        comparison=f"{RESULTS}/{{task}}/tabulate_methods/comparison.csv",
        comparison_markdown=f"{RESULTS}/{{task}}/tabulate_methods/comparison.md",
    params:
        code("tabulate_task_methods"),
        settings=TASKS.task,
        seed=config["seed"],
    conda:
        "../../envs/mflens.yaml"
    log:
        f"{RESULTS}/logs/{{task}}/tabulate_methods/methods.log",
    benchmark:
        f"{RESULTS}/benchmarks/{{task}}/tabulate_methods/methods.tsv"
    resources:
        **NEEDS.of("tabulate_task_methods"),
    script:
        "../../scripts/tabulate_task_methods.py"
