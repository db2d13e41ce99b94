def benchmarks_of(files):
    """The benchmark files of the jobs that make these files."""
    below = [Path(file).relative_to(RESULTS).with_suffix(".tsv") for file in files]
    return [f"{RESULTS}/benchmarks/{path}" for path in below]


RUNS = plan.runs(config["infer"]["methods"], config["infer"]["n_high"])
EVERYTHING = ["bulk", "validation", "pairs", "test"]
THREADS = dict.fromkeys(
    ["pretrain_compressor", "finetune_compressor", "sample_posterior"],
    config["infer"]["threads"],
) | {"simulate_maps": config["simulate"]["threads"]}
SIMULATED = (
    [
        f"{RESULTS}/compute_spectra/{split}/{chunk}.h5"
        for split in SPLITS
        for chunk in range(plan.n_chunks(split, config["simulate"]))
    ]
    + files_of("simulate_maps", EVERYTHING)
    + files_of("measure_spectra", EVERYTHING)
)
FINETUNED = [f"{RESULTS}/finetune_compressor/{m}/{n}.pt" for m, n in RUNS]
OTHERS = [
    *[rules.compute_kernels.output.kernels, rules.pretrain_compressor.output.model],
    *[f"{RESULTS}/sample_posterior/{m}/{n}.h5" for m, n in RUNS],
]


rule score_posterior:
    message:
        "Score the posteriors of all methods: NLPD, calibration, sharpness."
    input:
        samples=[f"{RESULTS}/sample_posterior/{m}/{n}.h5" for m, n in RUNS],
    output:
        scores=[f"{RESULTS}/score_posterior/{m}/{n}.json" for m, n in RUNS],
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
        mem_mb=2000,
    script:
        "../../scripts/score_posterior.py"


rule tabulate_methods:
    message:
        "Put scores and measured cost of all methods into one table."
    input:
        scores=rules.score_posterior.output.scores,
        finetune_benchmarks=benchmarks_of(FINETUNED),
        pretrain_benchmark=benchmarks_of([rules.pretrain_compressor.output.model])[0],
        simulation_benchmarks=benchmarks_of(SIMULATED),
    output:
        methods=f"{RESULTS}/tabulate_methods/methods.csv",
        markdown=report(
            f"{RESULTS}/tabulate_methods/methods.md",
            caption="../report/tabulate_methods.rst",
            category="Methods",
        ),
    params:
        code("tabulate_methods"),
        ladder=LADDER,
        sims={split: plan.n_sims(split, config["simulate"]) for split in SPLITS},
        threads=THREADS,
    conda:
        "../../envs/mflens.yaml"
    log:
        f"{RESULTS}/logs/tabulate_methods/methods.log",
    benchmark:
        f"{RESULTS}/benchmarks/tabulate_methods/methods.tsv"
    script:
        "../../scripts/tabulate_methods.py"


rule tabulate_cost:
    message:
        "Sum up what every rule and tier cost."
    input:
        benchmarks=benchmarks_of(SIMULATED + FINETUNED + OTHERS),
    output:
        cost=f"{RESULTS}/tabulate_cost/cost.csv",
        markdown=report(
            f"{RESULTS}/tabulate_cost/cost.md",
            caption="../report/tabulate_cost.rst",
            category="Cost",
        ),
    params:
        code("tabulate_cost"),
        threads=THREADS,
    conda:
        "../../envs/mflens.yaml"
    log:
        f"{RESULTS}/logs/tabulate_cost/cost.log",
    benchmark:
        f"{RESULTS}/benchmarks/tabulate_cost/cost.tsv"
    script:
        "../../scripts/tabulate_cost.py"


TABLES = [
    rules.tabulate_methods.output.methods,
    rules.tabulate_cost.output.cost,
    f"{RESULTS}/tabulate_pairing/pairing.csv",
]
