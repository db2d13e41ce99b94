THREADS = dict.fromkeys(
    ["pretrain_compressor", "finetune_compressor", "sample_posterior"],
    config["infer"]["threads"],
) | dict.fromkeys(["simulate_maps", "compute_whitening"], config["simulate"]["threads"])
TRAINING_BENCHMARKS = PLAN.benchmarks(PLAN.products("finetune_compressor", ".pt"))
PRETRAINING_BENCHMARK = PLAN.benchmarks([rules.pretrain_compressor.output.model])[0]


rule score_posterior:
    message:
        "Score the posteriors of all methods: NLPD, calibration, sharpness."
    input:
        samples=PLAN.products("sample_posterior", ".h5"),
    output:
        scores=PLAN.products("score_posterior", ".json"),
    params:
        code("score_posterior"),
        seed=config["seed"],
    conda:
        "../../envs/mflens.yaml"
    log:
        f"{RESULTS}/logs/score_posterior/scores.log",
    benchmark:
        f"{RESULTS}/benchmarks/score_posterior/scores.tsv"
    resources:
        **NEEDS.of("score_posterior"),
    script:
        "../../scripts/score_posterior.py"


rule tabulate_methods:
    message:
        "Put scores and measured cost of all methods into one table."
    input:
        scores=rules.score_posterior.output.scores,
        finetune_benchmarks=TRAINING_BENCHMARKS,
        pretrain_benchmark=PRETRAINING_BENCHMARK,
        simulation_benchmarks=PLAN.simulation_benchmarks(),
    output:
        methods=f"{RESULTS}/tabulate_methods/methods.csv",
        markdown=report(
            f"{RESULTS}/tabulate_methods/methods.md",
            caption="../report/tabulate_methods.rst",
            category="Methods",
        ),
    params:
        code("tabulate_methods"),
        simulations=PLAN.simulations,
        threads=THREADS,
    conda:
        "../../envs/mflens.yaml"
    log:
        f"{RESULTS}/logs/tabulate_methods/methods.log",
    benchmark:
        f"{RESULTS}/benchmarks/tabulate_methods/methods.tsv"
    resources:
        **NEEDS.of("tabulate_methods"),
    script:
        "../../scripts/tabulate_methods.py"


rule tabulate_cost:
    message:
        "Sum up what every rule and tier cost."
    input:
        simulations=PLAN.simulation_benchmarks(),
        training=[PRETRAINING_BENCHMARK, *TRAINING_BENCHMARKS],
        others=PLAN.other_benchmarks(),
    output:
        cost=f"{RESULTS}/tabulate_cost/cost.csv",
        markdown=report(
            f"{RESULTS}/tabulate_cost/cost.md",
            caption="../report/tabulate_cost.rst",
            category="Cost",
        ),
        overhead=f"{RESULTS}/tabulate_cost/overhead.csv",
        overhead_markdown=f"{RESULTS}/tabulate_cost/overhead.md",
    params:
        code("tabulate_cost"),
        threads=THREADS,
    conda:
        "../../envs/mflens.yaml"
    log:
        f"{RESULTS}/logs/tabulate_cost/cost.log",
    benchmark:
        f"{RESULTS}/benchmarks/tabulate_cost/cost.tsv"
    resources:
        **NEEDS.of("tabulate_cost"),
    script:
        "../../scripts/tabulate_cost.py"


TABLES = [
    rules.tabulate_methods.output.methods,
    rules.tabulate_cost.output.cost,
    f"{RESULTS}/tabulate_pairing/pairing.csv",
]
