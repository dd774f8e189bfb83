"""Print the tables of docs/networks.md and draw its figures: receptive fields, stages, cost, and what an output stride can score at best.

python docs/figures/networks.py [fields] [stages] [cost] [ceilings]      all four where none is named
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import output_stride
import psutil
import torch
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from sliding_window import LAYERS, STRIDE, SlidingWindow
from torch import Tensor, nn

from segshift import SegmentationModel, create_model, measure_receptive_field, open_domain
from segshift.models import ReceptiveField
from segshift.models.cost import count_multiply_adds
from segshift.models.receptive_field import Layer, theoretical_receptive_field
from segshift.report.canvas import canvas

IMAGES = Path(__file__).parents[1] / "images"
STRIDES = (1, 2, 4, 8, 16, 32)
FIELD_SIDE, FIELD_IMAGES = 576, 8
SIZE = (256, 512)
PATCHES, ROUNDS = 128, 7


def build(name: str) -> nn.Module:
    """A network with random weights, the same every time, in evaluation mode."""
    if name == "sliding window":
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return SlidingWindow().eval()
    architecture, encoder = {"FCN": ("fcn_resnet50", "resnet50"), "U-Net": ("unet", "resnet50"), "SegFormer": ("segformer", "mit_b0")}[name]
    return create_model(architecture, encoder, seed=0).eval()


NETWORKS = ("sliding window", "FCN", "U-Net", "SegFormer")


def settle(model: nn.Module, images: Tensor) -> None:
    """Batch norm as after a first look at images; timm's residual branches, which start at zero, are switched on."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight)
            module.momentum = None
    with torch.no_grad():
        model.train()(images)
    model.eval()


def chain(name: str, model: nn.Module) -> list[Layer] | None:
    """The longest path through a network, None where attention joins everything with everything."""
    if name == "SegFormer":
        return None
    if not isinstance(model, SegmentationModel):
        return list(LAYERS)
    layers: list[Layer] = []

    def note(module: nn.Module, _: object) -> None:
        if isinstance(module, nn.Conv2d | nn.MaxPool2d):
            kernel, stride, dilation = (v if isinstance(v, int) else v[0] for v in (module.kernel_size, module.stride, module.dilation))
            layers.append(Layer(kernel, stride, dilation))
        else:
            layers.append(Layer(1, 1 / 2))

    noted = [m for n, m in model.named_modules() if isinstance(m, nn.Conv2d | nn.MaxPool2d) and "downsample" not in n]
    noted += list(model.network.decoder.blocks) if name == "U-Net" else []
    handles = [module.register_forward_pre_hook(note) for module in noted]
    with torch.no_grad():
        model(torch.zeros(1, 3, 64, 64))
    for handle in handles:
        handle.remove()
    return [*layers, Layer(2, 1 / 8)] if name == "FCN" else layers


def show_fields() -> None:
    """The table of receptive fields and their figure."""
    streets = open_domain(f"streets::test?size={FIELD_SIDE}x{FIELD_SIDE}&first={FIELD_IMAGES}", depth=False)
    images = torch.stack([sample.image for sample in streets]) / 255
    fields = {}
    print("| network | closed form | pixels that reach the centre | 95 % of the gradient | 50 % | square of 95 % in that of the closed form |")
    print("|---|---|---|---|---|---|")
    for name in NETWORKS:
        model = build(name)
        settle(model, images[..., ::3, ::3])
        layers = chain(name, model)
        fields[name] = field = measure_receptive_field(model, images)
        side = None if layers is None else theoretical_receptive_field(layers)
        share = "" if side is None else f"{(field.effective() / side) ** 2:.0%}"
        shown = "whole image" if side is None else f"{side:g}"
        print(f"| {name} | {shown} | {field.support[0]} x {field.support[1]} | {field.effective()} | {field.effective(0.5)} | {share} |", flush=True)
    draw_fields(fields)


def draw_fields(fields: dict[str, ReceptiveField]) -> None:
    with canvas(9.6, 2.9) as figure:
        panels = figure.subplots(1, len(fields), sharey=True)
        for axes, (name, field) in zip(panels, fields.items(), strict=True):
            shade = torch.log10((field.gradient / field.gradient.max()).clamp(min=1e-9))
            picture = axes.imshow(shade.numpy(), cmap="magma", vmin=-5, vmax=0, interpolation="none")
            frame(axes, field.columns, field.rows, "white", "--")
            middle, half = FIELD_SIDE // 2, field.effective() // 2
            frame(axes, (middle - half, middle + half + 1), (middle - half, middle + half + 1), "#56b4e9", "-")
            axes.set_title(f"{name}: {field.support[0]}, {field.effective()}", fontsize=9)
            axes.set_xticks((0, 288, 576))
            axes.set_yticks((0, 288, 576))
        bar = figure.colorbar(picture, ax=panels, shrink=0.8, pad=0.01, ticks=(-5, -4, -3, -2, -1, 0))
        bar.set_label("log10 of gradient / largest")
        figure.savefig(IMAGES / "networks_fields.png", dpi=110)


def frame(axes: Axes, columns: tuple[int, int], rows: tuple[int, int], color: str, dashes: str) -> None:
    axes.add_patch(
        Rectangle((columns[0] - 0.5, rows[0] - 0.5), columns[1] - columns[0], rows[1] - rows[0], fill=False, color=color, linestyle=dashes, linewidth=1.3)
    )


def show_stages() -> None:
    """Maps of every stage for 512 x 1024, and what one convolution costs and sees at equal width."""
    print("| network | channels at height x width, stage by stage | logits |\n|---|---|---|")
    for name in NETWORKS[1:]:
        model = build(name).to("meta")
        assert isinstance(model, SegmentationModel)
        maps: list[Tensor] = []
        logits: list[Tensor] = []
        stages = ("relu", "layer1", "layer2", "layer3", "layer4") if name == "FCN" else ()
        noted = [(model.get_submodule(last), logits) for last in model.parts().classifier_last]
        for module, kept in [*noted, *((model.encoder.get_submodule(stage), maps) for stage in stages)]:
            module.register_forward_hook(lambda _, __, found, kept=kept: kept.append(found))
        features = model.outputs(torch.zeros(1, 3, 512, 1024, device="meta")).features
        shown = ", ".join("{} at {} x {}".format(*found.shape[1:]) for found in maps or features)
        print(f"| {name} | {shown} | {logits[0].shape[2]} x {logits[0].shape[3]} |")
    print(
        "\n| stride | G multiply-adds of one 3 x 3 convolution, 256 to 256 channels | pixels that it adds | convolutions to see 513 | their G multiply-adds |"
    )
    print("|---|---|---|---|---|")
    for stride in STRIDES:
        with torch.device("meta"):
            macs = count_multiply_adds(nn.Conv2d(256, 256, 3, padding=1), torch.zeros(1, 256, 512 // stride, 1024 // stride)) / 1e9
        needed = 512 // (2 * stride)
        print(f"| {stride} | {macs:.2f} | {2 * stride} | {needed} | {needed * macs:.1f} |")


def runners(images: Tensor) -> dict[str, tuple[str, Callable[[], Tensor], float]]:
    """What is timed: the network of a row, the call, and how many times it must be made for the image."""
    models = {name: build(name) for name in NETWORKS}
    window = models["sliding window"]
    assert isinstance(window, SlidingWindow)
    height, width = images.shape[-2:]
    drawn = torch.randperm(height * width, generator=torch.Generator().manual_seed(0))[:PATCHES].tolist()
    pixels = [divmod(place, width) for place in drawn]
    return {
        "sliding window, a patch a pixel": ("sliding window", lambda: window.patchwise(images, pixels), height * width / PATCHES),
        "the same in one pass": ("sliding window", lambda: window.dense(images), 1),
        "the same, every 16th pixel": ("sliding window", lambda: window.coarse(images), 1),
        **{name: (name, lambda name=name: models[name](images), 1) for name in NETWORKS[1:]},
    }


def check_equal(images: Tensor) -> float:
    """The largest difference between the sliding window's three ways on the same pixels; refuses more than 1e-5."""
    window = build("sliding window")
    assert isinstance(window, SlidingWindow)
    pixels = [(row, column) for row in range(0, images.shape[2], STRIDE) for column in range(0, images.shape[3], STRIDE)]
    with torch.no_grad():
        dense, coarse = window.dense(images)[0, :, ::STRIDE, ::STRIDE], window.coarse(images)[0]
        patches = window.patchwise(images, pixels).T.view_as(coarse)
    difference = max(float((way - patches).abs().max()) for way in (dense, coarse))
    if difference > 1e-5:
        raise SystemExit(f"the sliding window's ways differ by {difference}")
    return difference


def show_cost(rounds: int) -> None:
    """The table of costs: every round times each network once, in turn."""
    images = torch.rand(1, 3, *SIZE, generator=torch.Generator().manual_seed(0))
    print(f"one pass and patches differ by {check_equal(images):.1e} at most, on {SIZE[0] // STRIDE * SIZE[1] // STRIDE} pixels")
    ways = runners(images)
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    with torch.no_grad():
        for turn in range(rounds + 1):
            for name, (_, call, times) in ways.items():
                start = time.perf_counter()
                call()
                if turn:  # the first is warm-up
                    seconds[name].append(times * (time.perf_counter() - start))
        print(f"{SIZE[0]} x {SIZE[1]}, {rounds} rounds, {torch.get_num_threads()} thread, {os.cpu_count()} cores, torch {torch.__version__}")
        print("| network | parameters, M | G multiply-adds | of them encoder | seconds | memory, MB |\n|---|---|---|---|---|---|")
        for name, (network, call, times) in ways.items():
            model = build(network)
            parameters = sum(p.numel() for p in model.parameters()) / 1e6
            macs = times * count_call(call) / 1e9
            inside = f"{count_multiply_adds(model.encoder, images) / 1e9:.1f}" if isinstance(model, SegmentationModel) else ""
            taken = np.array(seconds[name])
            digits = 1 if taken.min() < 100 else 0
            spread = f"{np.median(taken):.{digits}f} ({taken.min():.{digits}f} to {taken.max():.{digits}f})"
            print(f"| {name} | {parameters:.2f} | {macs:.1f} | {inside} | {spread} | {peak_of(name):.0f} |", flush=True)
    patches, once, *_ = seconds.values()
    ratios = np.array(patches) / np.array(once)
    print(f"\na patch a pixel over one pass, within a round: {np.median(ratios):.0f} ({ratios.min():.0f} to {ratios.max():.0f})")


def count_call(call: Callable[[], Tensor]) -> int:
    """Multiply-adds of a call without arguments."""

    class Call(nn.Module):
        def forward(self, _: Tensor) -> Tensor:
            return call()

    return count_multiply_adds(Call(), torch.zeros(1))


def peak_of(name: str) -> float:
    """Resident memory in MB that a fresh process needs at most for one call, beyond what it has with weights and image."""
    return float(subprocess.run([sys.executable, __file__, "--peak", name], capture_output=True, text=True, check=True).stdout)


def print_peak(name: str) -> None:
    """Samples the process, because the system's own high-water mark is inherited from the process that started this one."""
    images = torch.rand(1, 3, *SIZE, generator=torch.Generator().manual_seed(0))
    network, call, _ = runners(images)[name]
    process, done, resident = psutil.Process(), threading.Event(), []

    def watch() -> None:
        while not done.wait(0.002):
            resident.append(process.memory_info().rss)

    with torch.no_grad():
        build(network)(images[..., :64, :64])  # kernels are loaded
        before = process.memory_info().rss
        watcher = threading.Thread(target=watch)
        watcher.start()
        call()
        done.set()
        watcher.join()
    print((max(resident) - before) / 1e6)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    shows = {"fields": show_fields, "stages": show_stages, "cost": lambda: show_cost(asked.rounds), "ceilings": output_stride.show_ceilings}
    parser.add_argument("parts", nargs="*", choices=[*shows, []], metavar="part")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--peak", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    if asked.peak:
        print_peak(asked.peak)
        return
    for part in asked.parts or shows:
        shows[part]()
        print()


if __name__ == "__main__":
    main()
