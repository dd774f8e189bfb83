"""A step of our training loop over a bare PyTorch loop with the same model and the same batches, interleaved in one run.

    python benchmarks/loop.py [--rounds 7] [--steps 6]

What ours adds to forward, backward and step: reading the window, schedules, the checks for losses and gradients that are not finite,
and seeding. Both use Adam and one process; loading is left out (the batches are in memory).
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import Any

import torch
import torch.nn.functional as F
from lightning_fabric import Fabric

from segshift.engine.loading import generator_of
from segshift.engine.read_recipe import validate_recipe
from segshift.engine.stepper import FabricStepper
from segshift.methods import Supervised
from segshift.models import SegmentationModel, create_model
from segshift.tuning import create_tuning
from segshift.types import Batch

HEIGHT, WIDTH, BATCH, CLASSES = 128, 256, 8, 19


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=6)
    arguments = parser.parse_args()
    generator = torch.Generator().manual_seed(0)
    batches = [
        Batch(
            torch.rand(BATCH, 3, HEIGHT, WIDTH, generator=generator),
            torch.randint(0, CLASSES, (BATCH, HEIGHT, WIDTH), generator=generator),
            None,
            tuple(f"{step}_{i}" for i in range(BATCH)),
        )
        for step in range(arguments.steps)
    ]
    loops = {"bare": bare_loop(), "ours": our_loop(arguments.steps)}
    for loop in loops.values():
        loop(batches[:2])
    times: dict[str, list[float]] = {name: [] for name in loops}
    for _ in range(arguments.rounds):
        for name, loop in loops.items():
            start = time.perf_counter()
            loop(batches)
            times[name].append((time.perf_counter() - start) / len(batches))
    ratios = sorted(ours / bare for ours, bare in zip(times["ours"], times["bare"], strict=True))
    for name, seconds in times.items():
        print(f"{name}: {statistics.median(seconds) * 1e3:.1f} ms a step ({min(seconds) * 1e3:.1f} to {max(seconds) * 1e3:.1f})")
    print(f"ours / bare: {statistics.median(ratios):.3f} ({ratios[0]:.3f} to {ratios[-1]:.3f}) over {len(ratios)} interleaved rounds")
    print(f"unet / tf_efficientnet_lite0, batch {BATCH} of {HEIGHT} x {WIDTH}, {torch.get_num_threads()} threads, torch {torch.__version__}")


def small_model() -> SegmentationModel:
    return create_model("unet", encoder="tf_efficientnet_lite0", classes=CLASSES, seed=0).to(memory_format=torch.channels_last).train()


def bare_loop() -> Any:
    model = small_model()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

    def loop(batches: list[Batch]) -> None:
        for batch in batches:
            loss = F.cross_entropy(model(batch.images), batch.labels, ignore_index=255)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            loss.item()

    return loop


def our_loop(steps: int) -> Any:
    model = small_model()
    recipe = validate_recipe({"data": {"source": "streets"}})
    method, tuning = Supervised(), create_tuning("all")
    tuning.prepare(model)
    stepper = FabricStepper(Fabric(accelerator="cpu", devices=1), model, method, tuning, recipe, 10_000, steps)

    def loop(batches: list[Batch]) -> None:
        for batch in batches:
            torch.manual_seed(generator_of(0, stepper.position, 0).initial_seed())
            stepper.begin([{"source": batch}])
            stepper.next_batch()
            logged = method.step({"source": batch}, stepper)
            stepper.end()
            float(logged["loss"])

    return loop


if __name__ == "__main__":
    main()
