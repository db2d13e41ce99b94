rule finetune_compressor:
    message:
        "Fit method {wildcards.method} with {wildcards.n_high} high-fidelity sims."
    input:
        pretrained=rules.pretrain_compressor.output.model,
        bulk_maps=files_of("simulate_maps", ["bulk"]),
        validation_maps=files_of("simulate_maps", ["validation"]),
        pairs_maps=files_of("simulate_maps", ["pairs"]),
        bulk_spectra=files_of("measure_spectra", ["bulk"]),
        validation_spectra=files_of("measure_spectra", ["validation"]),
        pairs_spectra=files_of("measure_spectra", ["pairs"]),
    output:
        model=f"{RESULTS}/finetune_compressor/{{method}}/{{n_high}}.pt",
        history=f"{RESULTS}/finetune_compressor/{{method}}/{{n_high}}.csv",
    params:
        code("finetune_compressor"),
        parameters=config["theory"]["parameters"],
        ladder=LADDER,
        training=config["infer"]["training"],
        n_folds=config["infer"]["n_folds"],
        device=config["infer"]["device"],
        seed=config["seed"],
    conda:
        "../../envs/mflens.yaml"
    log:
        f"{RESULTS}/logs/finetune_compressor/{{method}}/{{n_high}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/finetune_compressor/{{method}}/{{n_high}}.tsv"
    threads: config["infer"]["threads"]
    resources:
        mem_mb=3000,
    script:
        "../../scripts/finetune_compressor.py"


rule sample_posterior:
    message:
        "Sample the posterior of {wildcards.method} ({wildcards.n_high} sims) at all test sims."
    input:
        model=rules.finetune_compressor.output.model,
        test_maps=files_of("simulate_maps", ["test"]),
        test_spectra=files_of("measure_spectra", ["test"]),
    output:
        samples=f"{RESULTS}/sample_posterior/{{method}}/{{n_high}}.h5",
        chains=directory(f"{RESULTS}/sample_posterior/{{method}}/{{n_high}}_chains"),
    params:
        code("sample_posterior"),
        parameters=config["theory"]["parameters"],
        n_samples=config["evaluate"]["n_samples"],
        n_chains=config["evaluate"]["n_chains"],
        seed=config["seed"],
    conda:
        "../../envs/mflens.yaml"
    log:
        f"{RESULTS}/logs/sample_posterior/{{method}}/{{n_high}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/sample_posterior/{{method}}/{{n_high}}.tsv"
    threads: config["infer"]["threads"]
    resources:
        mem_mb=2000,
    script:
        "../../scripts/sample_posterior.py"
