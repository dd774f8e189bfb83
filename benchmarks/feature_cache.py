"""What keeping the maps of a frozen encoder saves: a step of the head with kept maps against one that runs the encoder, interleaved in one run.

    python benchmarks/feature_cache.py [--encoders resnet101 mobilenetv2_100] [--rounds 7] [--size 512] [--batch 2]

The ideal is (encoder forward + head step) / head step, with the maps in memory at no cost; what is reached is a step that runs the encoder over one that
reads its maps from the file as half floats. A step is forward, backward and SGD with momentum.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
import torch.nn.functional as F

from segshift.engine.features import KeptFeatures
from segshift.models import create_model
from segshift.tuning import apply_selection, create_tuning, set_train_mode

HEADS = {"resnet101": {"head": "reference"}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--encoders", nargs="+", default=["resnet101", "mobilenetv2_100"])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    for encoder in arguments.encoders:
        compare(encoder, arguments.size, arguments.batch, arguments.rounds)
    print(f"batch {arguments.batch} of {arguments.size} x {arguments.size}, {arguments.threads} threads, torch {torch.__version__}")


def compare(encoder: str, size: int, batch: int, rounds: int) -> None:
    """Prints the line of an encoder."""
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(batch, 3, size, size, generator=generator)
    labels = torch.randint(0, 19, (batch, size, size), generator=generator)
    names = [f"image {number}" for number in range(batch)]
    model = create_model("deeplabv3plus", encoder=encoder, classes=19, seed=0, **HEADS.get(encoder, {})).to(memory_format=torch.channels_last)
    chosen = create_tuning("encoder-frozen").prepare(model)
    apply_selection(model, chosen)
    set_train_mode(model, chosen)
    model.encoder.eval()
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1e-4, momentum=0.9)

    def step(maps: Any) -> None:
        F.cross_entropy(model.outputs(images, maps).logits, labels).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    with TemporaryDirectory() as folder:
        kept = KeptFeatures(model, model.encode, Path(folder), [], 2**32, print)
        in_memory = kept.maps(images, names)

        @torch.no_grad()
        def encode() -> None:
            model.encode(images)

        timed: dict[str, Callable[[], None]] = {
            "encoder": encode,
            "head step": lambda: step(in_memory),
            "step": lambda: step(None),
            "kept step": lambda: step(kept.maps(images, names)),
        }
        seconds: dict[str, list[float]] = {name: [] for name in timed}
        for number in range(rounds + 1):
            for name, run in timed.items():
                start = time.perf_counter()
                run()
                if number:  # the first round warms up
                    seconds[name].append(time.perf_counter() - start)
        kept.close()
        mebibytes = sum(path.stat().st_size for path in Path(folder).glob("*.features")) / batch / 2**20
    rows = list(zip(*seconds.values(), strict=True))
    ideal, reached = [(e + h) / h for e, h, _, _ in rows], [s / k for _, _, s, k in rows]
    shares = sorted(r / i for r, i in zip(reached, ideal, strict=True))
    parts = ", ".join(f"{name} {statistics.median(values):.3f} s" for name, values in seconds.items())
    print(
        f"{encoder}: {statistics.median(reached):.2f}x of {statistics.median(ideal):.2f}x, share of the ideal {statistics.median(shares):.3f} "
        f"({shares[0]:.3f} to {shares[-1]:.3f}); {parts}; {mebibytes:.1f} MiB an image"
    )


if __name__ == "__main__":
    main()
