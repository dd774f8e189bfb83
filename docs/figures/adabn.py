"""Print the tables of docs/test-time.md on AdaBN and draw its figure, from the folder of studies/adabn-streets.yaml, adabn-camvid.yaml or adabn.yaml.

python docs/figures/adabn.py runs/adabn-streets docs/images/adabn_streets.png [--score dice]

Each adaptation is tested on the weather that it was adapted to, before and after on the same images. Differences are means over the seeds with Student's t
interval; `~` stands before one that other seeds or other images may explain (of mIoU only: p as in `segshift compare`, corrected over all differences of a
weather).
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.stats import spearmanr

from segshift.engine.run import Run
from segshift.metrics import Interval, mean_interval
from segshift.report.studies import compare_study_folder
from segshift.report.study_rows import StudyComparison
from segshift.study.results import Results
from segshift.study.rows import RunResult

RATIOS = ("0", "0.2", "0.5", "1")
COLORS = ("#2a6f97", "#c8553d", "#4f772d", "#7b2d8b", "#b08900", "#333333")
Values = dict[tuple[str, ...], dict[int, float]]
"""A figure by seed; the key is entry, source model, weather, ratio, batch size."""


@dataclass(frozen=True)
class Choice:
    """How consistent each state of a model was on the target, and what runs of the same states truly score on the test; by "unchanged" or ratio.
    `score` is that of the run that chose: where it draws other source images than the run of the same ratio, the two differ."""

    chosen: str
    score: float
    consistency: Mapping[str, float]
    true: Mapping[str, float]


def key(run: RunResult, weather: str) -> tuple[str, ...]:
    """Entry, source model, weather, ratio, batch size."""
    axes = run.axes
    return run.entry, str(axes["augmentation"]), weather, str(axes.get("ratio", "")).removesuffix(".0"), str(axes.get("method.batch_size", 8))


def read_values(results: Results, score: str, weathers: list[str]) -> Values:
    """All runs on the weather that they were adapted to, the sources on each."""
    runs = {run.identity: run for run in results.runs()}
    found: Values = {}
    for scored in results.scores():
        run = runs[scored.identity]
        if scored.domain in weathers and run.axes.get("weather", scored.domain) == scored.domain:
            found.setdefault(key(run, scored.domain), {})[run.seed] = getattr(scored, score)
    return found


def differences(values: Values, after: tuple[str, ...]) -> list[float]:
    """To the source model, seed by seed."""
    before = values.get(("source", after[1], after[2], "", "8"), {})
    return [value - before[seed] for seed, value in sorted(values.get(after, {}).items()) if seed in before]


def uncertain(study: StudyComparison) -> set[tuple[str, ...]]:
    """The adaptations whose difference may be none."""
    return {
        key(row.runs[0], weather)
        for row in study.rows
        if not row.is_source and (weather := str(row.axes.get("weather"))) in row.cells and row.cells[weather].within_noise
    }


def shown(interval: Interval, sign: str = "") -> str:
    """In per cent, with its bounds where there are several seeds."""
    value, low, high = (f"{100 * number:{sign}.1f}" for number in (interval.value, interval.low, interval.high))
    return value if np.isnan(interval.low) else f"{value} [{low}, {high}]"


def told(of_seeds: list[float], sign: str = "") -> str:
    """Their mean with its interval; nothing where every run failed."""
    return shown(mean_interval(of_seeds), sign) if of_seeds else ""


def print_table(values: Values, entry: str, weathers: list[str], noise: set[tuple[str, ...]]) -> None:
    """Before, and what each ratio adds."""
    ratios = [*RATIOS, "auto"] if entry == "adabn" else [*RATIOS]
    sources = dict.fromkeys(place[1] for place in values)
    rows = [(source, weather) for source in sources for weather in weathers if any((entry, source, weather, ratio, "8") in values for ratio in ratios)]
    if not rows:
        return
    print(f"\n{'exact moments' if entry == 'adabn' else 'exponential averages, two passes'}\n")
    named = " | ".join(f"ratio {ratio}" if ratio != "auto" else ratio for ratio in ratios)
    print(f"| source | tested in | source model | {named} |\n|---|---|---|{'---|' * len(ratios)}")
    for source, weather in rows:
        cells = [told([*values.get(("source", source, weather, "", "8"), {}).values()])]
        for ratio in ratios:
            place = (entry, source, weather, ratio, "8")
            cells.append(("~ " if place in noise else "") + told(differences(values, place), "+"))
        print(f"| {source} | {weather} | {' | '.join(cells)} |")


def read_choices(folder: Path, results: Results, values: Values) -> dict[tuple[str, str, int], Choice]:
    """By source model, weather and seed; runs that failed, or whose source did, are left out."""
    found = {}
    for run in results.runs():
        if run.axes.get("ratio") != "auto" or run.folder is None:
            continue
        source, weather = str(run.axes["augmentation"]), str(run.axes["weather"])
        states = {"unchanged": ("source", source, weather, "", "8"), **{ratio: ("adabn", source, weather, ratio, "8") for ratio in (*RATIOS, "auto")}}
        true = {name: values[place][run.seed] for name, place in states.items() if run.seed in values.get(place, {})}
        if "unchanged" not in true or "auto" not in true:
            continue
        adaptation = Run.open(folder / run.folder).record["adaptation"]
        found[source, weather, run.seed] = Choice(adaptation["chosen"], true.pop("auto"), adaptation["consistency"], true)
    return found


def print_choices(choices: Mapping[tuple[str, str, int], Choice]) -> None:
    """Whether a model's consistency tells where statistics help."""
    if not choices:
        return
    known = [(c, r) for c in choices.values() for r in RATIOS if r in c.consistency and r in c.true]
    pairs = [(c.consistency[r] - c.consistency["unchanged"], c.true[r] - c.true["unchanged"]) for c, r in known]
    if len(pairs) > 1:
        gained, true = (np.array(column) for column in zip(*pairs, strict=True))
        clear = np.abs(true) > 0.01
        print(f"\nconsistency against true gain of {len(pairs)} adaptations: Spearman {spearmanr(gained, true).statistic:.2f}; ", end="")
        print(f"of the {clear.sum()} that gain or lose more than a point, the sign is right in {np.mean(np.sign(gained) == np.sign(true), where=clear):.0%}")
    rules = {
        "unchanged": lambda c: c.true["unchanged"],
        **{f"ratio {ratio}": lambda c, ratio=ratio: c.true.get(ratio) for ratio in RATIOS},
        "auto": lambda c: c.score,
        "the best, by labels": lambda c: max(c.true.values()),
    }
    sources = list(dict.fromkeys(place[0] for place in choices))
    print(f"\n| mean over weathers and seeds | {' | '.join(sources)} | the worst loss of a run |\n|---|{'---|' * (len(sources) + 1)}")
    for name, rule in rules.items():
        scores = {place: (score, c.true["unchanged"]) for place, c in choices.items() if (score := rule(c)) is not None}
        of_sources = [[score for place, (score, _) in scores.items() if place[0] == source] for source in sources]
        worst = 100 * min((score - before for score, before in scores.values()), default=0)
        print(f"| {name} | {' | '.join(f'{100 * np.mean(each):.1f}' if each else '' for each in of_sources)} | {min(worst, 0):.1f} |")
    chosen = {source: [c.chosen for place, c in choices.items() if place[0] == source] for source in sources}
    for source, names in chosen.items():
        print(f"\n{source} chose {', '.join(f'{name} {names.count(name)} times' for name in ('unchanged', *RATIOS) if name in names)}")


def draw_ratios(axes: Axes, values: Values, source: str, weathers: list[str]) -> None:
    """A line a weather over the ratios; the source model stands on the left, `auto` on the right."""
    columns = ["", *RATIOS, "auto"]
    for weather, color in zip(weathers, COLORS, strict=False):
        means = []
        for x, ratio in enumerate(columns):
            of_seeds = [100 * v for v in values.get(("adabn" if ratio else "source", source, weather, ratio, "8"), {}).values()]
            axes.plot([x] * len(of_seeds), of_seeds, "o", color=color, markersize=2.5, alpha=0.5)
            means.append(np.mean(of_seeds) if of_seeds else np.nan)
        axes.plot(range(1, 5), means[1:5], color=color, linewidth=1.2, label=weather)
        axes.plot([0, 1], means[:2], color=color, linewidth=0.8, linestyle=":")
        axes.plot([0, 5], [means[0], means[5]], "_", color=color, markersize=11, markeredgewidth=2)
    axes.set_xticks(range(6), ["source\nmodel", *RATIOS, "auto"], fontsize=8)
    axes.set_title(f"{source} source", fontsize=9)
    axes.grid(axis="y", linewidth=0.3)


def gains_of(values: Values, source: str, weather: str) -> tuple[list[int], np.ndarray]:
    """Mean difference to the source model in points, (batch sizes, ratios), NaN where nothing was measured; and the batch sizes."""
    sizes = sorted({int(place[4]) for place in values if place[:3] == ("batches", source, weather)} | {8})
    gains = np.full((len(sizes), len(RATIOS)), np.nan)
    for row, size in enumerate(sizes):
        for column, ratio in enumerate(RATIOS):
            found = differences(values, ("adabn" if size == 8 else "batches", source, weather, ratio, str(size)))
            gains[row, column] = 100 * np.mean(found) if found else np.nan
    return sizes, gains


def draw_batches(axes: Axes, values: Values, source: str, weather: str, most: float = 0.1) -> None:
    """Mean difference to the source model by batch size and ratio; the colours end at `most` points, at least."""
    sizes, gains = gains_of(values, source, weather)
    most = np.nanmax(np.abs(gains), initial=most)
    axes.imshow(gains, cmap="RdBu", vmin=-most, vmax=most, aspect="auto")
    for row, column in np.argwhere(np.isfinite(gains)):
        gain = gains[row, column]
        axes.text(column, row, f"{gain:+.1f}", ha="center", va="center", fontsize=8, color="white" if abs(gain) > 0.6 * most else "black")
    axes.set_xticks(range(len(RATIOS)), RATIOS, fontsize=8)
    axes.set_yticks(range(len(sizes)), map(str, sizes), fontsize=8)
    axes.set_title(f"{source} source, {weather}: points over the source model", fontsize=9)
    axes.set_xlabel("source ratio", fontsize=8)
    axes.set_ylabel("batch size", fontsize=8)


def draw(values: Values, weathers: list[str], score: str, path: Path) -> None:
    """Above what each ratio scores, below batch size against ratio; a column a source model."""
    sources = list(dict.fromkeys(place[1] for place in values))
    swept = next((place[2] for place in values if place[0] == "batches"), None)
    figure = Figure(figsize=(4.6 * len(sources), 5.6 if swept else 3.2), layout="constrained")
    panels = figure.subplots(2 if swept else 1, len(sources), squeeze=False)
    adapted = [weather for weather in weathers if any(place[0] == "adabn" and place[2] == weather for place in values)]
    most = max((float(np.nanmax(np.abs(gains_of(values, source, swept)[1]), initial=0.1)) for source in sources), default=0.1) if swept else 0.1
    for column, source in enumerate(sources):
        draw_ratios(panels[0, column], values, source, adapted)
        if swept:
            draw_batches(panels[1, column], values, source, swept, most)
    bottoms, tops = zip(*(axes.get_ylim() for axes in panels[0]), strict=True)
    for axes in panels[0]:
        axes.set_ylim(min(bottoms), max(tops))
        axes.tick_params(labelsize=8)
    panels[0, 0].set_ylabel("mIoU, %" if score == "miou" else "mean Dice, %", fontsize=8)
    panels[0, -1].legend(fontsize=7, frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("picture", type=Path, nargs="?")
    parser.add_argument("--score", choices=("miou", "dice"), default="miou")
    given = parser.parse_args()
    comparison, file = compare_study_folder(given.folder)
    domains = list(comparison.domains)
    read = read_values(file, given.score, domains)
    doubtful = uncertain(comparison) if given.score == "miou" else set()
    order = [*dict.fromkeys(str(row.axes["augmentation"]) for row in comparison.rows)]
    read = dict(sorted(read.items(), key=lambda item: order.index(item[0][1])))
    for entry in ("adabn", "ema"):
        print_table(read, entry, domains, doubtful)
    choices = read_choices(given.folder, file, read)
    print_choices(dict(sorted(choices.items(), key=lambda item: order.index(item[0][0]))))
    file.close()
    if given.picture is not None:
        draw(read, domains, given.score, given.picture)
