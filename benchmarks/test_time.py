"""What adapting at test time costs: seconds a batch over a bare forward pass, interleaved in one run.

    python benchmarks/test_time.py [--encoders resnet18 tf_efficientnet_lite0] [--rounds 9] [--size 256 512] [--batch 4]

`prediction-bn` and AdaBN's pass over the statistics stand over a forward pass of the same model with batch statistics (training mode, no gradients), the
others over one in evaluation mode. EATA and SAR take every pixel, so that each of their batches is learned from. A ratio is formed within a round; printed
are medians with smallest and largest.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy

import torch
from torch import Tensor

from segshift.methods import AdaBN, Cotta, Eata, OnlineMethod, PredictionBN, Sar, Tent
from segshift.models import SegmentationModel, create_model
from segshift.types import Batch

METHODS: dict[str, Callable[[], OnlineMethod]] = {
    "prediction-bn": PredictionBN,
    "tent": Tent,
    "eata": lambda: Eata(anchor=0.0, margin=1.0, epsilon=1.0),
    "sar": lambda: Sar(margin=1.0),
    "cotta": lambda: Cotta(scales=(0.5, 1.0)),
}


class Images:
    """A pool of the same batch over and over."""

    def __init__(self, images: Tensor, batches: int) -> None:
        self.images, self.generator = images, torch.Generator().manual_seed(0)
        self.sizes = {"target": len(images) * batches}

    def on_all(self, action: Callable[[], object]) -> list[object]:
        return [action()]

    def left_out(self) -> dict[str, str]:
        return {}

    def constant(self) -> list[str]:
        return []

    def load(self, picks: Sequence[tuple[str, int]], batch_size: int) -> Iterator[Batch]:
        for _ in range(0, len(picks), batch_size):
            yield Batch(self.images, None, None, ())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--encoders", nargs="+", default=["resnet18", "tf_efficientnet_lite0"])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--size", type=int, nargs=2, default=(256, 512))
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    images = torch.rand(arguments.batch, 3, *arguments.size, generator=torch.Generator().manual_seed(0)).to(arguments.device)
    for encoder in arguments.encoders:
        compare(encoder, images, arguments.rounds)
    where = torch.cuda.get_device_name() if arguments.device == "cuda" else f"{arguments.threads} threads"
    print(f"batch {arguments.batch} of {arguments.size[0]} x {arguments.size[1]}, {where}, torch {torch.__version__}")


def compare(encoder: str, images: Tensor, rounds: int) -> None:
    """Prints a line a method."""
    model = create_model("unet", encoder=encoder, classes=19, seed=0).to(images.device).to(memory_format=torch.channels_last).eval()
    training = deepcopy(model).train()
    passes: dict[str, Callable[[], object]] = {"evaluation": lambda: forward(model, images), "training": lambda: forward(training, images)}
    for name, build in METHODS.items():
        method = build()
        method.begin(deepcopy(model))
        passes[name] = lambda method=method: method.adapt_and_predict(images)
    statistics_of = deepcopy(model)
    pool = Images(images, 4)
    adabn = AdaBN(batch_size=len(images))
    times: dict[str, list[float]] = {name: [] for name in (*passes, "adabn")}
    for number in range(rounds + 1):
        for name, answer in passes.items():
            seconds = timed(answer)
            if number:  # the first round warms up
                times[name].append(seconds)
        seconds = timed(lambda: adabn.adapt(statistics_of, pool)) / 4
        if number:
            times["adabn"].append(seconds)
    bare = {name: f"{1000 * statistics.median(times[name]):.0f} ms" for name in ("evaluation", "training")}
    print(f"unet / {encoder}: evaluation {bare['evaluation']}, with batch statistics {bare['training']}")
    for name in (*METHODS, "adabn"):
        peer = "training" if name in ("prediction-bn", "adabn") else "evaluation"
        ratios = sorted(ours / plain for ours, plain in zip(times[name], times[peer], strict=True))
        over = "a forward pass with batch statistics" if peer == "training" else "inference"
        print(f"  {name}: {statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f}) of {over}")


def timed(answer: Callable[[], object]) -> float:
    """Seconds, the device's work included."""
    start = time.perf_counter()
    answer()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start


@torch.no_grad()
def forward(model: SegmentationModel, images: Tensor) -> Tensor:
    """The bare pass."""
    logits: Tensor = model(images)
    return logits


if __name__ == "__main__":
    main()
