rule pretrain_compressor:
    message:
        "Train compressor and flow together on the bulk of the cheapest tier."
    input:
        bulk_maps=PLAN.files("simulate_maps", ["bulk"]),
        validation_maps=PLAN.files("simulate_maps", ["validation"]),
    output:
        model=f"{RESULTS}/pretrain_compressor/model.pt",
        history=f"{RESULTS}/pretrain_compressor/history.csv",
    params:
        code("pretrain_compressor"),
        **{key: config["infer"][key] for key in ["device", "checkpoint_minutes"]},
        parameters=PLAN.inferred,
        ladder=LADDER,
        network=PLAN.network,
        flow=config["infer"]["flow"],
        pretraining=config["compress"]["pretraining"],
        seed=config["seed"],
    conda:
        "../../envs/mflens.yaml"
    priority: 10
    log:
        f"{RESULTS}/logs/pretrain_compressor/model.log",
    benchmark:
        f"{RESULTS}/benchmarks/pretrain_compressor/model.tsv"
    threads: config["infer"]["threads"]
    resources:
        **NEEDS.of("pretrain_compressor"),
    script:
        "../../scripts/pretrain_compressor.py"
