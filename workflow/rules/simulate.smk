from snakemake.logging import logger

from mflens.run.survey_summary import summarise_survey

if workflow.is_main_process:
    logger.info(summarise_survey(config))
    logger.info(NEEDS.summary())


rule simulate_maps:
    message:
        "Simulate chunk {wildcards.chunk} of the {wildcards.split} sims on tier {wildcards.tier}."
    input:
        COMPILED,
        unpack(PLAN.whitening),
        table=rules.draw_parameters.output.table,
        spectra=rules.compute_spectra.output.spectra,
    output:
        maps=f"{RESULTS}/simulate_maps/{{tier}}/{{split}}/{{chunk}}.h5",
    params:
        code("simulate_maps"),
        parameters=config["theory"]["parameters"],
        inferred=PLAN.inferred,
        shells=config["theory"]["shells"],
        simulate=PLAN.tier_options,
        threads=config["simulate"]["threads"],
        first=PLAN.first_sim,
        last=PLAN.last_sim,
        n_convergence=PLAN.n_convergence,
    conda:
        "../../envs/mflens.yaml"
    log:
        f"{RESULTS}/logs/simulate_maps/{{tier}}/{{split}}/{{chunk}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/simulate_maps/{{tier}}/{{split}}/{{chunk}}.tsv"
    threads: config["simulate"]["threads"]
    resources:
        **NEEDS.of("simulate_maps"),
    script:
        "../../scripts/simulate_maps.py"


# the same for the splits that run on expensive tiers: an array of jobs has one request of time
# and memory for all of them
use rule simulate_maps as simulate_costly_maps with:
    resources:
        **NEEDS.of("simulate_costly_maps"),
    wildcard_constraints:
        split="|".join(split for split in PLAN.splits if split not in ("bulk", "validation")),


ruleorder: simulate_costly_maps > simulate_maps


rule measure_spectra:
    message:
        "Measure band powers of chunk {wildcards.chunk} of {wildcards.split} on {wildcards.tier}."
    input:
        maps=rules.simulate_maps.output.maps,
    output:
        spectra=f"{RESULTS}/measure_spectra/{{tier}}/{{split}}/{{chunk}}.h5",
    params:
        code("measure_spectra"),
        bands=config["simulate"]["bands"],
    conda:
        "../../envs/mflens.yaml"
    log:
        f"{RESULTS}/logs/measure_spectra/{{tier}}/{{split}}/{{chunk}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/measure_spectra/{{tier}}/{{split}}/{{chunk}}.tsv"
    resources:
        **NEEDS.of("measure_spectra"),
    script:
        "../../scripts/measure_spectra.py"
