"""Judge the label-free estimates of docs/test-time.md by labels and draw its figures: over shifts that no estimate was fitted on.

python docs/figures/drift.py docs/images/drift.png --streets runs/adabn-streets --camvid runs/adabn-camvid --pairs drift.json

The folders are those of studies/adabn-streets.yaml and adabn-camvid.yaml; their source models are looked at on all shifts below. Each calibrates on its
source's validation split; labels of the shifts score and do nothing else. With `--clean N`, the alarm is tried on N clean batches of
16 drawn scenes too, and on all stretches of CamVid's validation drive against the rest of it.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from scipy.stats import spearmanr

from segshift.data.dataset import open_domain
from segshift.diagnose.alarm import calibrate_alarm
from segshift.diagnose.drift import PooledMoments, layer_distances, normalization_distance, over_layers
from segshift.engine.calibration import Calibration, calibrate
from segshift.engine.checkpoint import write_atomic
from segshift.engine.confidence import ShownImages, look_at
from segshift.engine.drift import estimate_drift
from segshift.engine.run import Run
from segshift.study.results import Results

SMALL = "count=60&size=128x64"
STREETS = {
    "other scenes": f"streets::test?{SMALL}",
    **{f"fog {beta}": f"streets::test?{SMALL}+fog={beta}" for beta in (0.005, 0.01, 0.02, 0.04)},
    **{f"rain @{severity}": f"streets::test?{SMALL}+rain@{severity}" for severity in (2, 4)},
    **{f"night @{severity}": f"streets::test?{SMALL}+night@{severity}" for severity in (1, 3)},
    **{f"snow @{severity}": f"streets::test?{SMALL}+snow@{severity}" for severity in (1, 3)},
    "camera": f"streets::test?{SMALL}&look=camera",
    "camera, fog 0.02": f"streets::test?{SMALL}&look=camera+fog=0.02",
    "camera, night @3": f"streets::test?{SMALL}&look=camera+night@3",
}
CAMVID = {
    "other drive": "camvid::train?sequence=0006R0",
    "dusk": "camvid::train?sequence=0001TP",
    **{
        f"{weather} @{severity}": f"camvid::train?sequence=0006R0&every=3&depth=plane+{weather}@{severity}"
        for weather in ("fog", "rain")
        for severity in (2, 4)
    },
}
CONTROLS = ("other scenes", "other drive")
"""Images of the source that are no shift: an alarm there is a false one."""
VALIDATION = {"streets": "streets::val?count=100&size=128x64", "camvid": None}
ESTIMATES = {"rehearsed": "as printed", "soft": "soft IoU", "soft-difference": "difference", "atc": "ATC"}
COLORS = {"rehearsed": "#222222", "soft": "#2a6f97", "soft-difference": "#c8553d", "atc": "#4f772d"}
BATCH = 16


def look(run: Run, data: str, shifts: Mapping[str, str], pairs: list[dict[str, Any]]) -> None:
    """Adds to the pairs what is estimated and what is true on each shift that is not among them."""
    model = f"{run.name}, seed {run.recipe.seed}"
    for name, domain in shifts.items():
        if any((pair["data"], pair["model"], pair["shift"]) == (data, model, name) for pair in pairs):
            continue
        drift = estimate_drift(run, domain, VALIDATION[data])
        told, true = drift.estimates, drift.true_miou or 0
        print(f"{model} on {name}: rehearsed {100 * told.miou('rehearsed'):.1f}, soft {100 * told.miou('soft'):.1f}, true {100 * true:.1f}", flush=True)
        pairs.append({"data": data, "model": model, "shift": name, **drift.to_json()})


def sources_of(folder: Path) -> list[Run]:
    """The source models of a study."""
    with Results.open(folder / "results.sqlite") as results:
        return [Run.open(folder / run.folder) for run in results.runs() if run.entry == "source" and run.folder is not None]


def print_errors(pairs: Sequence[Mapping[str, Any]]) -> None:
    """Mean absolute error in points and Spearman over all shifts and models of a data set, a row an estimate."""
    sets = list(dict.fromkeys(pair["data"] for pair in pairs))
    print(f"\n| estimate | {' | '.join(f'{data}: error, worst, Spearman' for data in sets)} |\n|---|{'---|' * len(sets)}")
    for name, title in ESTIMATES.items():
        print(f"| mIoU: {title} | {' | '.join(errors([(p['miou'][name], p['true_miou']) for p in pairs if p['data'] == data]) for data in sets)} |")
    for name in ("rehearsed", "doc", "atc"):
        print(f"| accuracy: {name} | {' | '.join(errors([(p['accuracy'][name], p['true_accuracy']) for p in pairs if p['data'] == data]) for data in sets)} |")
    for name, title in ESTIMATES.items():
        cells = []
        for data in sets:
            of_classes = [(p["iou"][name][c], t) for p in pairs if p["data"] == data for c, t in p["true_iou"].items() if None not in (t, p["iou"][name][c])]
            cells.append(errors(of_classes))
        print(f"| IoU of a class: {title} | {' | '.join(cells)} |")
    for name, estimated, margin, true in (("mIoU", "miou", "miou", "true_miou"), ("accuracy", "accuracy", "accuracy", "true_accuracy")):
        within = {d: [abs(p[estimated]["rehearsed"] - p[true]) <= p["margin"][margin] for p in pairs if p["data"] == d] for d in sets}
        print(f"\n{name} within the margin: {', '.join(f'{sum(hits)} of {len(hits)} ({data})' for data, hits in within.items())}", end="")
    print(f"\nalarms on shifts: {count_alarms([p for p in pairs if p['shift'] not in CONTROLS])}; ", end="")
    print(f"on other images of the source: {count_alarms([p for p in pairs if p['shift'] in CONTROLS])}")


def count_alarms(pairs: Sequence[Mapping[str, Any]]) -> str:
    """How many of them raised the alarm, a data set."""
    found = {data: [bool(p["alarm"]) for p in pairs if p["data"] == data] for data in dict.fromkeys(p["data"] for p in pairs)}
    return ", ".join(f"{sum(alarms)} of {len(alarms)} ({data})" for data, alarms in found.items()) or "none looked at"


def errors(pairs: Sequence[tuple[float, float]]) -> str:
    """Mean and largest absolute error in points, and the rank correlation."""
    estimated, true = (100 * np.array(column) for column in zip(*pairs, strict=True))
    away = np.abs(estimated - true)
    return f"{away.mean():.1f}, {away.max():.1f}, {spearmanr(estimated, true).statistic:.2f}"


def print_alarms(runs: Sequence[Run], batches: int) -> None:
    """The alarm on clean batches that no calibration has seen, and in fog."""
    models, sources = [run.load_model() for run in runs], [calibrate(run, VALIDATION["streets"]).moments for run in runs]
    above = [calibrate_alarm(source, BATCH) for source in sources if source is not None]
    rates: list[list[str]] = [[] for _ in runs]
    for name, domain, count in (("clean", "", batches), ("fog 0.005", "+fog=0.005", 30), ("fog 0.01", "+fog=0.01", 30)):
        scenes = open_domain(f"streets::test?count={count * BATCH}&seed=7&size=128x64{domain}", depth=False)
        batch, distances = [PooledMoments() for _ in runs], [list[float]() for _ in runs]
        for shown in ShownImages(scenes, runs[0].size):
            for index, (model, source) in enumerate(zip(models, sources, strict=True)):
                assert source is not None
                batch[index].add(look_at(model, shown.image, "cpu")[1][0])
                if batch[index].images == BATCH:
                    distances[index].append(float(over_layers(normalization_distance(batch[index], source))))
                    batch[index] = PooledMoments()
        for rate, limit, found in zip(rates, above, distances, strict=True):
            rate.append(f"{sum(distance > limit for distance in found)} of {len(found)} ({name}; median {np.median(found):.3g})")
    for run, limit, rate in zip(runs, above, rates, strict=True):
        print(f"{run.name}, seed {run.recipe.seed}: alarms in batches of {BATCH}: {', '.join(rate)}; above {limit:.3g}", flush=True)


def print_stretches(run: Run) -> None:
    """The alarm on every stretch of frames of the validation drive against its other frames: as calibrated, and as if frames were independent."""
    moments = calibrate(run).moments
    assert moments is not None
    for images in (4, 8, BATCH):
        above = calibrate_alarm(moments, images), calibrate_alarm(replace(moments, blocks=()), images)
        distances = []
        for start in range(len(moments) - images + 1):
            others = [i for i in range(len(moments)) if not start <= i < start + images]
            stretch = moments.pool(range(start, start + images))
            distances.append(float(over_layers(layer_distances(stretch, moments.pool(others), moments.sizes, moments.eps))))
        counted, independent = (sum(distance > limit for distance in distances) for limit in above)
        print(f"{run.name}: alarms in {len(distances)} stretches of {images} clean frames: {counted} (were frames independent: {independent})", flush=True)


def draw(pairs: Sequence[Mapping[str, Any]], calibrations: Sequence[tuple[str, Calibration]], path: Path) -> None:
    """Estimated against true mIoU, a panel a data set, and reliability diagrams before and after the temperatures."""
    sets = list(dict.fromkeys(pair["data"] for pair in pairs))
    figure = Figure(figsize=(3.6 * (len(sets) + 1), 3.6), layout="constrained")
    *panels, last = figure.subplots(1, len(sets) + 1)
    for axes, data in zip(panels, sets, strict=True):
        for name, title in ESTIMATES.items():
            points = np.array([(p["true_miou"], p["miou"][name]) for p in pairs if p["data"] == data])
            axes.plot(*(100 * points.T), "o", color=COLORS[name], markersize=3, alpha=0.7, label=title)
        both = [axes.get_xlim(), axes.get_ylim()]
        low, high = min(pair[0] for pair in both), max(pair[1] for pair in both)
        axes.plot([low, high], [low, high], color="#999999", linewidth=0.8)
        axes.set_title(f"{data}: {sum(p['data'] == data for p in pairs)} pairs of model and shift", fontsize=8)
        axes.set_xlabel("true mIoU, %", fontsize=8)
        axes.grid(linewidth=0.3)
    panels[0].set_ylabel("estimated mIoU, %", fontsize=8)
    panels[0].legend(fontsize=7, frameon=False)
    for place, (name, calibration) in enumerate(calibrations):
        for when, style in ((0, ":"), (1, "-")):
            pixels, right, confidence = calibration.reliability[when].numpy()
            known = pixels > 0
            label = f"{name}, {'with its temperatures' if when else 'as it is'} ({100 * calibration.ece[when]:.1f} %)"
            last.plot(
                confidence[known] / pixels[known], right[known] / pixels[known], style, color=["#2a6f97", "#c8553d"][place % 2], linewidth=1.2, label=label
            )
    last.plot([0, 1], [0, 1], color="#999999", linewidth=0.8)
    last.set_title("reliability on the source (calibration error)", fontsize=8)
    last.set_xlabel("mean confidence", fontsize=8)
    last.set_ylabel("share of right pixels", fontsize=8)
    last.legend(fontsize=6, frameon=False)
    last.grid(linewidth=0.3)
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("picture", type=Path)
    parser.add_argument("--streets", type=Path)
    parser.add_argument("--camvid", type=Path)
    parser.add_argument("--clean", type=int, default=0, help="batches")
    parser.add_argument("--pairs", type=Path, help="where all figures are kept; what is there already is not measured again")
    given = parser.parse_args()
    models = {data: sources_of(folder) for data, folder in (("streets", given.streets), ("camvid", given.camvid)) if folder is not None}
    measured: list[dict[str, Any]] = json.loads(given.pairs.read_text()) if given.pairs is not None and given.pairs.is_file() else []
    for data, runs in models.items():
        for run in runs:
            look(run, data, STREETS if data == "streets" else CAMVID, measured)
            if given.pairs is not None:
                write_atomic(given.pairs, json.dumps(measured))
    print_errors(measured)
    if given.clean:
        if "streets" in models:
            print_alarms(models["streets"], given.clean)
        for model in models.get("camvid", []):
            print_stretches(model)
    draw(measured, [(data, calibrate(runs[0], VALIDATION[data])) for data, runs in models.items()], given.picture)
