report: "../report/workflow.rst"


MOST = max(config["infer"]["n_high"])
RUNS_AT_MOST = [(m, n) for m, n in PLAN.runs if n in (0, MOST)]
# the prior's contours are the axes themselves
TRIANGLE_RUNS = [(m, n) for m, n in RUNS_AT_MOST if m != "prior"] or RUNS_AT_MOST


rule tabulate_pairing:
    message:
        "Measure correlation and power ratio of pairs, and how the box repeats."
    input:
        maps=PLAN.files("simulate_maps", ["pairs"]),
    output:
        pairing=f"{RESULTS}/tabulate_pairing/pairing.csv",
        pairing_markdown=f"{RESULTS}/tabulate_pairing/pairing.md",
        whitening=f"{RESULTS}/tabulate_pairing/whitening.csv",
        whitening_markdown=f"{RESULTS}/tabulate_pairing/whitening.md",
        replication=f"{RESULTS}/tabulate_pairing/replication.csv",
        replication_markdown=f"{RESULTS}/tabulate_pairing/replication.md",
        comparison=f"{RESULTS}/tabulate_pairing/pairing.h5",
    params:
        code("tabulate_pairing"),
        ladder=LADDER,
        bands=config["simulate"]["bands"],
        shells=config["theory"]["shells"],
        box_mpc_h=config["simulate"]["mesh"]["box_mpc_h"],
    conda:
        "../../envs/mflens.yaml"
    log:
        f"{RESULTS}/logs/tabulate_pairing/pairing.log",
    benchmark:
        f"{RESULTS}/benchmarks/tabulate_pairing/pairing.tsv"
    resources:
        **NEEDS.of("tabulate_pairing"),
    script:
        "../../scripts/tabulate_pairing.py"


rule plot_sky:
    message:
        "Draw a pair on the sky."
    input:
        low=PLAN.chunks("simulate_maps", f"pairs_{LADDER[-1]}", LADDER[-2])[0],
        high=PLAN.chunks("simulate_maps", f"pairs_{LADDER[-1]}", LADDER[-1])[0],
    output:
        pdf=f"{RESULTS}/plot_sky/sky.pdf",
        png=report(
            f"{RESULTS}/plot_sky/sky.png",
            caption="../report/plot_sky.rst",
            category="Pairs",
            labels={"figure": "A pair on the sky"},
        ),
    params:
        code("plot_sky"),
    conda:
        "../../envs/mflens.yaml"
    log:
        f"{RESULTS}/logs/plot_sky/sky.log",
    benchmark:
        f"{RESULTS}/benchmarks/plot_sky/sky.tsv"
    resources:
        **NEEDS.of("plot_sky"),
    script:
        "../../scripts/plot_sky.py"


rule plot_pairing:
    message:
        "Draw correlation and power ratio of matched and unmatched sims."
    input:
        comparison=rules.tabulate_pairing.output.comparison,
    output:
        pdf=f"{RESULTS}/plot_pairing/pairing.pdf",
        png=report(
            f"{RESULTS}/plot_pairing/pairing.png",
            caption="../report/plot_pairing.rst",
            category="Pairs",
            labels={"figure": "Correlation and power ratio"},
        ),
    params:
        code("plot_pairing"),
    conda:
        "../../envs/mflens.yaml"
    log:
        f"{RESULTS}/logs/plot_pairing/pairing.log",
    benchmark:
        f"{RESULTS}/benchmarks/plot_pairing/pairing.tsv"
    resources:
        **NEEDS.of("plot_pairing"),
    script:
        "../../scripts/plot_pairing.py"


rule plot_training:
    message:
        "Draw training and validation losses of all networks."
    input:
        pretraining=rules.pretrain_compressor.output.history,
        finetuning=PLAN.products("finetune_compressor", ".csv"),
    output:
        pdf=f"{RESULTS}/plot_training/training.pdf",
        png=report(
            f"{RESULTS}/plot_training/training.png",
            caption="../report/plot_training.rst",
            category="Methods",
            labels={"figure": "Training"},
        ),
    params:
        code("plot_training"),
        runs=PLAN.runs,
        parameters=PLAN.inferred,
    conda:
        "../../envs/mflens.yaml"
    log:
        f"{RESULTS}/logs/plot_training/training.log",
    benchmark:
        f"{RESULTS}/benchmarks/plot_training/training.tsv"
    resources:
        **NEEDS.of("plot_training"),
    script:
        "../../scripts/plot_training.py"


rule plot_posteriors:
    message:
        "Draw the posteriors of some test sims by all methods."
    input:
        samples=[f"{RESULTS}/sample_posterior/{m}/{n}.h5" for m, n in TRIANGLE_RUNS],
    output:
        pdf=f"{RESULTS}/plot_posteriors/posteriors.pdf",
        png=report(
            f"{RESULTS}/plot_posteriors/posteriors.png",
            caption="../report/plot_posteriors.rst",
            category="Methods",
            labels={"figure": "Posteriors"},
        ),
    params:
        code("plot_posteriors"),
        parameters=PLAN.inferred,
        triangle_sims=config["report"]["triangle_sims"],
    conda:
        "../../envs/mflens.yaml"
    log:
        f"{RESULTS}/logs/plot_posteriors/posteriors.log",
    benchmark:
        f"{RESULTS}/benchmarks/plot_posteriors/posteriors.tsv"
    resources:
        **NEEDS.of("plot_posteriors"),
    script:
        "../../scripts/plot_posteriors.py"


rule plot_calibration:
    message:
        "Draw coverage, TARP and SBC ranks of all methods."
    input:
        scores=[f"{RESULTS}/score_posterior/{m}/{n}.json" for m, n in RUNS_AT_MOST],
    output:
        pdf=f"{RESULTS}/plot_calibration/calibration.pdf",
        png=report(
            f"{RESULTS}/plot_calibration/calibration.png",
            caption="../report/plot_calibration.rst",
            category="Methods",
            labels={"figure": "Calibration"},
        ),
    params:
        code("plot_calibration"),
        parameters=PLAN.inferred,
    conda:
        "../../envs/mflens.yaml"
    log:
        f"{RESULTS}/logs/plot_calibration/calibration.log",
    benchmark:
        f"{RESULTS}/benchmarks/plot_calibration/calibration.tsv"
    resources:
        **NEEDS.of("plot_calibration"),
    script:
        "../../scripts/plot_calibration.py"


rule plot_methods:
    message:
        "Draw the score of all methods against expensive sims and cost."
    input:
        scores=PLAN.products("score_posterior", ".json"),
        methods=rules.tabulate_methods.output.methods,
    output:
        pdf=f"{RESULTS}/plot_methods/methods.pdf",
        png=report(
            f"{RESULTS}/plot_methods/methods.png",
            caption="../report/plot_methods.rst",
            category="Methods",
            labels={"figure": "Scores and cost"},
        ),
    params:
        code("plot_methods"),
    conda:
        "../../envs/mflens.yaml"
    log:
        f"{RESULTS}/logs/plot_methods/methods.log",
    benchmark:
        f"{RESULTS}/benchmarks/plot_methods/methods.tsv"
    resources:
        **NEEDS.of("plot_methods"),
    script:
        "../../scripts/plot_methods.py"


rule plot_cost:
    message:
        "Draw where the time goes."
    input:
        cost=rules.tabulate_cost.output.cost,
    output:
        pdf=f"{RESULTS}/plot_cost/cost.pdf",
        png=report(
            f"{RESULTS}/plot_cost/cost.png",
            caption="../report/plot_cost.rst",
            category="Cost",
            labels={"figure": "Where the time goes"},
        ),
    params:
        code("plot_cost"),
        ladder=LADDER,
    conda:
        "../../envs/mflens.yaml"
    log:
        f"{RESULTS}/logs/plot_cost/cost.log",
    benchmark:
        f"{RESULTS}/benchmarks/plot_cost/cost.tsv"
    resources:
        **NEEDS.of("plot_cost"),
    script:
        "../../scripts/plot_cost.py"


FIGURES = [
    *rules.plot_sky.output,
    *rules.plot_pairing.output,
    *rules.plot_training.output,
    *rules.plot_posteriors.output,
    *rules.plot_calibration.output,
    *rules.plot_methods.output,
    *rules.plot_cost.output,
]
