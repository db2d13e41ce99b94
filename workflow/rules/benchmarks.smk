from mflens.benchmarks.runs import CASES


rule measure_speed:
    message:
        "Measure the speed of {wildcards.case}, with both cores to itself."
    input:
        COMPILED,
        **POWER,
    output:
        timings=f"{RESULTS}/measure_speed/{{case}}.csv",
    params:
        code("measure_speed"),
        theory=config["theory"],
        simulate={key: config["simulate"][key] for key in ["mesh", "tiers", "survey"]},
        benchmarks=config["benchmarks"],
    conda:
        "../../envs/mflens.yaml"
    log:
        f"{RESULTS}/logs/measure_speed/{{case}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/measure_speed/{{case}}.tsv"
    threads: 2
    resources:
        **NEEDS.of("measure_speed"),
    wildcard_constraints:
        case="|".join(CASES),
    script:
        "../../scripts/measure_speed.py"


rule tabulate_benchmarks:
    message:
        "Compare the measured speed with its targets, fit its scaling, estimate a survey run."
    input:
        timings=expand(rules.measure_speed.output.timings, case=CASES),
        emulator=PLAN.emulator_benchmarks(),
    output:
        speed=f"{RESULTS}/tabulate_benchmarks/speed.csv",
        speed_markdown=f"{RESULTS}/tabulate_benchmarks/speed.md",
        scaling=f"{RESULTS}/tabulate_benchmarks/scaling.csv",
        scaling_markdown=f"{RESULTS}/tabulate_benchmarks/scaling.md",
        estimate=f"{RESULTS}/tabulate_benchmarks/estimate.csv",
        estimate_markdown=f"{RESULTS}/tabulate_benchmarks/estimate.md",
    params:
        code("tabulate_benchmarks"),
        benchmarks=config["benchmarks"],
        power=config["theory"]["power"],
        realisations=config["simulate"]["realisations_per_cosmology"],
        n_calibration=config["simulate"]["n_calibration"],
    conda:
        "../../envs/mflens.yaml"
    log:
        f"{RESULTS}/logs/tabulate_benchmarks/benchmarks.log",
    benchmark:
        f"{RESULTS}/benchmarks/tabulate_benchmarks/benchmarks.tsv"
    resources:
        **NEEDS.of("tabulate_benchmarks"),
    script:
        "../../scripts/tabulate_benchmarks.py"
