def whitening_if_matched(wildcards):
    """The calibration of the seed matching, for pairs that share the mesh's phases."""
    return {"whitening": rules.compute_whitening.output.whitening} if matched(wildcards) else {}


def simulate_options(wildcards):
    """What one tier needs of the config's section `simulate`, and nothing that others need."""
    chosen = {key: config["simulate"][key] for key in ("nside", "ell_max", "mesh", "survey")}
    tiers = config["simulate"]["tiers"]
    return chosen | {"tiers": {wildcards.tier: tiers.get(wildcards.tier, {})}}


def n_convergence(wildcards):
    """How many sims of a chunk keep their convergence: the first ones of each set of pairs."""
    wanted = config["simulate"]["n_convergence"] if plan.kind(wildcards.split) == "pairs" else 0
    return min(max(wanted - first_sim(wildcards), 0), last_sim(wildcards) - first_sim(wildcards))


rule simulate_maps:
    message:
        "Simulate chunk {wildcards.chunk} of the {wildcards.split} sims on tier {wildcards.tier}."
    input:
        unpack(whitening_if_matched),
        table=rules.draw_parameters.output.table,
        spectra=rules.compute_spectra.output.spectra,
    output:
        maps=f"{RESULTS}/simulate_maps/{{tier}}/{{split}}/{{chunk}}.h5",
    params:
        code("simulate_maps"),
        parameters=config["theory"]["parameters"],
        shells=config["theory"]["shells"],
        simulate=simulate_options,
        threads=config["simulate"]["threads"],
        first=first_sim,
        last=last_sim,
        n_convergence=n_convergence,
    conda:
        "../../envs/mflens.yaml"
    log:
        f"{RESULTS}/logs/simulate_maps/{{tier}}/{{split}}/{{chunk}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/simulate_maps/{{tier}}/{{split}}/{{chunk}}.tsv"
    threads: config["simulate"]["threads"]
    resources:
        mem_mb=2500,
    script:
        "../../scripts/simulate_maps.py"


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
        mem_mb=1500,
    script:
        "../../scripts/measure_spectra.py"
