TRAINING_KEYS = ["training", "correction", "n_folds", "device", "checkpoint_minutes"]


rule finetune_compressor:
    message:
        "Fit method {wildcards.method} with {wildcards.n_high} high-fidelity sims."
    input:
        pretrained=rules.pretrain_compressor.output.model,
        maps=PLAN.files("simulate_maps", ["bulk", "validation", "pairs"]),
        spectra=PLAN.files("measure_spectra", ["bulk", "validation", "pairs"]),
    output:
        model=f"{RESULTS}/finetune_compressor/{{method}}/{{n_high}}.pt",
        history=f"{RESULTS}/finetune_compressor/{{method}}/{{n_high}}.csv",
    params:
        code("finetune_compressor"),
        **{key: config["infer"][key] for key in TRAINING_KEYS},
        parameters=PLAN.inferred,
        ladder=LADDER,
        seed=config["seed"],
    conda:
        "../../envs/mflens.yaml"
    log:
        f"{RESULTS}/logs/finetune_compressor/{{method}}/{{n_high}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/finetune_compressor/{{method}}/{{n_high}}.tsv"
    threads: config["infer"]["threads"]
    resources:
        **NEEDS.of("finetune_compressor"),
    script:
        "../../scripts/finetune_compressor.py"


rule sample_posterior:
    message:
        "Sample the posteriors of all methods at all test sims."
    input:
        models=PLAN.products("finetune_compressor", ".pt"),
        test_maps=PLAN.files("simulate_maps", ["test"]),
        test_spectra=PLAN.files("measure_spectra", ["test"]),
    output:
        samples=PLAN.products("sample_posterior", ".h5"),
        chains=directory(PLAN.products("sample_posterior", "_chains")),
    params:
        code("sample_posterior"),
        runs=PLAN.runs,
        parameters=PLAN.inferred,
        n_samples=config["evaluate"]["n_samples"],
        n_chains=config["evaluate"]["n_chains"],
        seed=config["seed"],
    conda:
        "../../envs/mflens.yaml"
    log:
        f"{RESULTS}/logs/sample_posterior/samples.log",
    benchmark:
        f"{RESULTS}/benchmarks/sample_posterior/samples.tsv"
    threads: config["infer"]["threads"]
    resources:
        **NEEDS.of("sample_posterior"),
    script:
        "../../scripts/sample_posterior.py"
