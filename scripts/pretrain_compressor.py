"""Train compressor and flow jointly on the cheapest tier."""

from typing import Any

import pandas as pd
import torch

from mflens.files.io import read_chunks, read_hdf5, save_model, write_table
from mflens.infer.checkpoint import Checkpoint
from mflens.infer.methods import pretrain
from mflens.infer.posterior import CompressorFlow, Posterior
from mflens.infer.training import Training, resolve_device
from mflens.prior import Prior
from mflens.run.job import start_job
from mflens.seeding import seeded


def main(
    bulk_maps: list[str],
    validation_maps: list[str],
    model: str,
    history: str,
    parameters: dict[str, Any],
    ladder: list[str],
    network: dict[str, Any],
    flow: dict[str, Any],
    pretraining: dict[str, Any],
    device: str,
    checkpoint_minutes: float,
    seed: int,
) -> None:
    """Write the trained network and its history."""
    prior = Prior(parameters)
    bulk, validation = (
        read_chunks(paths, ["theta", "maps", "pixel"]) for paths in (bulk_maps, validation_maps)
    )
    with seeded(seed):
        trained = CompressorFlow(
            torch.as_tensor(bulk["pixel"]),
            compressor={
                "nside": int(read_hdf5(bulk_maps[0], [])[1]["nside"]),
                "n_bins": bulk["maps"].shape[1],
                **network,
            },
            flow={"n_parameters": len(prior.names), **flow},
        )
    maps, y, maps_val, y_val = (
        tensor
        for split in (bulk, validation)
        for tensor in (
            torch.as_tensor(split["maps"]),
            torch.as_tensor(prior.to_normal(prior.inside(split["theta"])), dtype=torch.float32),
        )
    )
    inputs = (maps, y, maps_val, y_val, *trained.state_dict().values(), pretraining, device, seed)
    checkpoint = Checkpoint(model, checkpoint_minutes, inputs)
    rows = pretrain(
        trained,
        (maps, y),
        (maps_val, y_val),
        tier=ladder[0],
        training=Training(**pretraining, checkpoint=checkpoint),
        device=resolve_device(device),
        seed=seed,
    )
    save_model(model, *Posterior([trained], "maps").to_state())
    write_table(history, pd.DataFrame(rows))
    checkpoint.remove()


if __name__ == "__main__":
    start_job(snakemake)  # noqa: F821
    main(**snakemake.input, **snakemake.output, **snakemake.params)  # noqa: F821
