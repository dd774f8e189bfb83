"""What selective tuning saves: seconds a step and memory over full fine-tuning, interleaved in one run.

    python benchmarks/selective.py [--encoders resnet101 mobilenetv2_100] [--rounds 5] [--size 512] [--batch 2]

A step is forward, backward and SGD with momentum, as the training loop takes it. Memory is counted, not sampled: the tensors that autograd keeps for the
backward pass (each storage once), the gradients and the optimizer's state; weights are the same for all and left out.
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from segshift.models import SegmentationModel, create_model
from segshift.tuning import apply_selection, create_tuning, set_train_mode

TUNINGS = ("all", "freeze-n-update", "cl", "bn", "cv", "bitfit")
HEADS = {"resnet101": {"head": "reference"}}
"""The reference's head where it has one; of other encoders segmentation_models_pytorch's."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--encoders", nargs="+", default=["resnet101", "mobilenetv2_100"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(arguments.batch, 3, arguments.size, arguments.size, generator=generator)
    labels = torch.randint(0, 19, (arguments.batch, arguments.size, arguments.size), generator=generator)
    for encoder in arguments.encoders:
        compare(encoder, images, labels, arguments.rounds)
    print(f"batch {arguments.batch} of {arguments.size} x {arguments.size}, {arguments.threads} threads, torch {torch.__version__}")


def compare(encoder: str, images: Tensor, labels: Tensor, rounds: int) -> None:
    """Prints a line a tuning."""
    model = create_model("deeplabv3plus", encoder=encoder, classes=19, seed=0, **HEADS.get(encoder, {})).to(memory_format=torch.channels_last)
    whole = sum(p.numel() for p in model.parameters())
    times: dict[str, list[float]] = {name: [] for name in TUNINGS}
    memory: dict[str, dict[str, int]] = {}
    for number in range(rounds + 1):
        for name in TUNINGS:
            seconds, memory[name] = step(model, name, images, labels)
            if number:  # the first round warms up
                times[name].append(seconds)
    total = {name: sum(parts.values()) for name, parts in memory.items()}
    print(f"deeplabv3plus / {encoder}: {statistics.median(times['all']):.2f} s a step of all, {total['all'] / 2**20:.0f} MiB")
    for name in TUNINGS:
        ratios = sorted(ours / full for ours, full in zip(times[name], times["all"], strict=True))
        chosen = create_tuning(name).prepare(model).parameters(model)
        parts = ", ".join(f"{part} {size / 2**20:.0f}" for part, size in memory[name].items())
        print(
            f"  {name}: learns {chosen / whole:.1%}; time {statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f}), "
            f"memory {total[name] / total['all']:.2f} of all ({parts} MiB)"
        )


def step(model: SegmentationModel, name: str, images: Tensor, labels: Tensor) -> tuple[float, dict[str, int]]:
    """Seconds and bytes of one step with fresh optimizer state."""
    chosen = create_tuning(name).prepare(model)
    apply_selection(model, chosen)
    set_train_mode(model, chosen)
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1e-4, momentum=0.9)
    kept: dict[int, int] = {}
    weights = {p.untyped_storage().data_ptr() for p in (*model.parameters(), *model.buffers())}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    def keep(tensor: Any) -> Any:
        return tensor

    start = time.perf_counter()
    with torch.autograd.graph.saved_tensors_hooks(pack, keep):
        loss = F.cross_entropy(model(images), labels)
    loss.backward()
    gradients = sum(p.grad.nbytes for p in model.parameters() if p.grad is not None)
    optimizer.step()
    seconds = time.perf_counter() - start
    state = sum(value.nbytes for entry in optimizer.state.values() for value in entry.values() if isinstance(value, Tensor))
    optimizer.zero_grad(set_to_none=True)
    return seconds, {"activations": sum(kept.values()), "gradients": gradients, "optimizer": state}


if __name__ == "__main__":
    main()
