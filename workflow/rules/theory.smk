# what --software-deployment-method apptainer runs in; built from envs/mflens.def
container: f"{ROOT}/envs/mflens.sif"


rule compile_functions:
    message:
        "Compile numba's functions for this processor, in a process that computes nothing."
    output:
        functions=f"{RESULTS}/compile_functions/functions.csv",
    params:
        code("compile_functions"),
        pysco=PLAN.needs_mesh,
    conda:
        "../../envs/mflens.yaml"
    priority: 20
    log:
        f"{RESULTS}/logs/compile_functions/functions.log",
    benchmark:
        f"{RESULTS}/benchmarks/compile_functions/functions.tsv"
    resources:
        **NEEDS.of("compile_functions"),
    script:
        "../../scripts/compile_functions.py"


# what jobs wait for that call compiled functions; a newer one changes nothing
COMPILED = ancient(rules.compile_functions.output.functions)


rule draw_parameters:
    message:
        "Draw parameters and seeds of all sims from a Sobol design over the prior."
    input:
        sim_tables=PLAN.sim_tables,
    output:
        table=f"{RESULTS}/draw_parameters/parameters.csv",
    params:
        code("draw_parameters"),
        parameters=config["theory"]["parameters"],
        nuisances=PLAN.nuisances,
        sizes=PLAN.sizes,
        disk_tiers=PLAN.disk_tiers,
        disk_splits=PLAN.disk_splits,
        seed=config["seed"],
    conda:
        "../../envs/mflens.yaml"
    log:
        f"{RESULTS}/logs/draw_parameters/parameters.log",
    benchmark:
        f"{RESULTS}/benchmarks/draw_parameters/parameters.tsv"
    resources:
        **NEEDS.of("draw_parameters"),
    script:
        "../../scripts/draw_parameters.py"


rule compute_kernels:
    message:
        "Compute the projection kernels of the shells, once for all cosmologies."
    input:
        COMPILED,
    output:
        kernels=f"{RESULTS}/compute_kernels/kernels.h5",
    params:
        code("compute_kernels"),
        shells=config["theory"]["shells"],
        k_max=config["theory"]["k_max_h_mpc"],
        box_mpc_h=config["simulate"]["mesh"]["box_mpc_h"],
        ell_max=config["simulate"]["ell_max"],
    conda:
        "../../envs/mflens.yaml"
    log:
        f"{RESULTS}/logs/compute_kernels/kernels.log",
    benchmark:
        f"{RESULTS}/benchmarks/compute_kernels/kernels.tsv"
    resources:
        **NEEDS.of("compute_kernels"),
    script:
        "../../scripts/compute_kernels.py"


EMULATOR = config["theory"]["emulator"]
SAMPLES = {name: EMULATOR[f"n_{name}"] for name in ("training", "validation")}


rule compute_training_power:
    message:
        "Compute {wildcards.sample} spectra of the emulator with CAMB, chunk {wildcards.chunk}."
    input:
        COMPILED,
    output:
        spectra=f"{RESULTS}/compute_training_power/{{sample}}/{{chunk}}.h5",
    params:
        code("compute_training_power"),
        parameters=config["theory"]["parameters"],
        shells=config["theory"]["shells"],
        k_max=config["theory"]["k_max_h_mpc"],
        nonlinear=config["theory"]["nonlinear"],
        n_amplitudes=EMULATOR["n_amplitudes"],
        sizes=SAMPLES,
        chunk_size=EMULATOR["chunk_size"],
        seed=config["seed"],
    conda:
        "../../envs/mflens.yaml"
    log:
        f"{RESULTS}/logs/compute_training_power/{{sample}}/{{chunk}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/compute_training_power/{{sample}}/{{chunk}}.tsv"
    resources:
        **NEEDS.of("compute_training_power"),
    wildcard_constraints:
        sample="|".join(SAMPLES),
    script:
        "../../scripts/compute_training_power.py"


CHUNKS = {
    f"{sample}_spectra": expand(
        rules.compute_training_power.output.spectra,
        sample=sample,
        chunk=range(-(-n // EMULATOR["chunk_size"])),
    )
    for sample, n in SAMPLES.items()
}


rule train_emulator:
    message:
        "Train the emulator of the power spectra and measure its error."
    input:
        **CHUNKS,
    output:
        emulator=f"{RESULTS}/train_emulator/emulator.pt",
        history=f"{RESULTS}/train_emulator/history.csv",
        errors=f"{RESULTS}/train_emulator/errors.csv",
        errors_markdown=f"{RESULTS}/train_emulator/errors.md",
    params:
        code("train_emulator"),
        parameters=config["theory"]["parameters"],
        k_max=config["theory"]["k_max_h_mpc"],
        nonlinear=config["theory"]["nonlinear"],
        networks=EMULATOR["networks"],
        max_error_percent=EMULATOR["max_error_percent"],
        seed=config["seed"],
    conda:
        "../../envs/mflens.yaml"
    log:
        f"{RESULTS}/logs/train_emulator/emulator.log",
    benchmark:
        f"{RESULTS}/benchmarks/train_emulator/emulator.tsv"
    resources:
        **NEEDS.of("train_emulator"),
    script:
        "../../scripts/train_emulator.py"


# what stands in for CAMB, if the config asks for it
POWER = {"emulator": rules.train_emulator.output.emulator}
POWER = POWER if config["theory"]["power"] == "emulator" else {}


rule compute_spectra:
    message:
        "Compute power and shell spectra for chunk {wildcards.chunk} of the {wildcards.split} sims."
    input:
        COMPILED,
        **POWER,
        table=rules.draw_parameters.output.table,
        kernels=rules.compute_kernels.output.kernels,
    output:
        spectra=f"{RESULTS}/compute_spectra/{{split}}/{{chunk}}.h5",
    params:
        code("compute_spectra"),
        parameters=config["theory"]["parameters"],
        shells=config["theory"]["shells"],
        mesh=PLAN.mesh,
        nonlinear=config["theory"]["nonlinear"],
        first=PLAN.first_sim,
        last=PLAN.last_sim,
    conda:
        "../../envs/mflens.yaml"
    log:
        f"{RESULTS}/logs/compute_spectra/{{split}}/{{chunk}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/compute_spectra/{{split}}/{{chunk}}.tsv"
    resources:
        **NEEDS.of("compute_spectra"),
    script:
        "../../scripts/compute_spectra.py"


rule compute_whitening:
    message:
        "Calibrate the seed matching on linear draws of the mesh."
    input:
        COMPILED,
        kernels=rules.compute_kernels.output.kernels,
    output:
        whitening=f"{RESULTS}/compute_whitening/whitening.h5",
    params:
        code("compute_whitening"),
        parameters=config["theory"]["parameters"],
        shells=config["theory"]["shells"],
        mesh=config["simulate"]["mesh"],
        n_calibration=config["simulate"]["n_calibration"],
        nonlinear=config["theory"]["nonlinear"],
        seed=config["seed"],
    conda:
        "../../envs/mflens.yaml"
    priority: 10
    log:
        f"{RESULTS}/logs/compute_whitening/whitening.log",
    benchmark:
        f"{RESULTS}/benchmarks/compute_whitening/whitening.tsv"
    threads: config["simulate"]["threads"]
    resources:
        **NEEDS.of("compute_whitening"),
    script:
        "../../scripts/compute_whitening.py"
