from mflens.run.verify import removed_products

REMOVED = [f"{RESULTS}/{product}" for product in removed_products(WHOLE_CONFIG)]


# without output it runs whenever it is asked for
rule verify:
    message:
        "Check the bytes of every product, and that config, code, inputs and versions are of now."
    params:
        code("verify"),
        config=WHOLE_CONFIG,
    conda:
        "../../envs/mflens.yaml"
    log:
        f"{RESULTS}/logs/verify/products.log",
    localrule: True
    script:
        "../../scripts/verify.py"


rule repair:
    message:
        "What was removed by the repair of these results is made anew."
    input:
        removed=REMOVED,
