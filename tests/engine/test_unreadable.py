"""Images of a target without labels that cannot be read: left out, counted and told, where a method learns from them; refused where they are scored."""

from __future__ import annotations

from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from rich.console import Console

from segshift.data.dataset import open_domain
from segshift.engine.adapt import adapt, adaptation_recipe
from segshift.engine.execute import execute
from segshift.engine.loading import DomainPool
from segshift.engine.logs import Reporter
from segshift.engine.run import Run
from segshift.errors import DataError
from segshift.methods import AdaBN
from segshift.models import create_model
from segshift.types import Batch

BROKEN = (0, 3)


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Eight images in fog of which the first and the fourth are cut off, and the six that are whole."""
    scenes = open_domain("streets::val?size=64x32&count=8+fog=0.02")
    stream, whole = tmp_path / "stream", tmp_path / "whole"
    for folder in (stream, whole):
        folder.mkdir()
        for index in range(8):
            if folder == stream or index not in BROKEN:
                Image.fromarray(scenes[index].image.permute(1, 2, 0).numpy()).save(folder / f"f{index}.png")
    for index in BROKEN:
        path = stream / f"f{index}.png"
        path.write_bytes(path.read_bytes()[:300])
    return stream, whole


def statistics(model: Any) -> dict[str, torch.Tensor]:
    return {key: value for key, value in model.state_dict().items() if "num_batches" not in key}


@pytest.mark.filterwarnings("ignore::segshift.errors.AdaptationWarning")  # there are few images
@pytest.mark.parametrize(("method", "options"), [("adabn", {"batch_size": 8}), ("adabn", {"batch_size": 8, "pseudo_count": 4.0}), ("tent", {"lr": 0.05})])
def test_a_model_learns_from_the_others_what_they_alone_would_teach(source_run: Run, folders: tuple[Path, Path], method: str, options: dict[str, Any]) -> None:
    stream, whole = folders
    changes = ("stream.batch_size=8",) if method == "tent" else ()
    with_broken, without = (adapt(source_run, method, target=f"folder:{folder}", changes=changes, **options) for folder in (stream, whole))
    for (key, one), other in zip(statistics(with_broken).items(), statistics(without).values(), strict=True):
        assert torch.allclose(one, other, rtol=1e-3, atol=1e-3), key  # float32 in another order, through 40 norms


def test_the_run_tells_how_many_and_which(source_run: Run, folders: tuple[Path, Path], tmp_path: Path) -> None:
    console = Console(file=StringIO(), width=300)
    recipe = adaptation_recipe(source_run.recipe, "adabn", target=f"folder:{folders[0]}", options={"source_ratio": "auto"})
    run = execute(recipe, tmp_path / "run", source_run, reporter=Reporter(console))
    assert run.record["unreadable"]["images"] == 2
    assert run.record["unreadable"]["names"] == ["f0", "f3"]
    assert "f0.png" in run.record["unreadable"]["first"]
    assert run.record["adaptation"]["target_images"] == 6
    said = "2 of 8 target images could not be read and are left out (f0, f3)"
    assert said in console.file.getvalue()  # type: ignore[attr-defined]
    assert said in run.record["protocol"]


def test_a_run_whose_images_are_whole_tells_nothing(source_run: Run, folders: tuple[Path, Path], tmp_path: Path) -> None:
    run = execute(adaptation_recipe(source_run.recipe, "adabn", target=f"folder:{folders[1]}"), tmp_path / "run", source_run)
    assert "unreadable" not in run.record
    assert "left out" not in run.record["protocol"]


@pytest.mark.parametrize(("method", "kept"), [("adabn", 3), ("tent", 3), ("adabn", 0), ("tent", 0)])
def test_a_target_that_is_mostly_unreadable_is_refused(source_run: Run, folders: tuple[Path, Path], method: str, kept: int) -> None:
    for index in range(kept, 8):
        (folders[0] / f"f{index}.png").write_bytes(b"no picture")
    if kept:
        Image.new("RGB", (64, 32)).save(folders[0] / "f0.png")
    with pytest.raises(DataError, match=r"of 8 target images cannot be read, and at most half may be left out; the first: .*png: "):
        adapt(source_run, method, target=f"folder:{folders[0]}")


def test_a_cache_of_the_target_is_done_without(source_run: Run, folders: tuple[Path, Path], tmp_path: Path) -> None:
    console = Console(file=StringIO(), width=300)
    adapt(source_run, "adabn", target=f"folder:{folders[0]}", changes=(f"compute.cache={tmp_path / 'cache'}",), reporter=Reporter(console))
    assert "target: read from its files each time, as a cache holds whole data sets alone" in console.file.getvalue()  # type: ignore[attr-defined]


def test_a_source_must_be_readable(source_run: Run, folders: tuple[Path, Path]) -> None:
    stream, whole = (f"folder:{folder}" for folder in folders)
    with pytest.raises(DataError, match=r"f0\.png"):
        adapt(source_run, "adabn", target=whole, source=stream, source_ratio=1.0)


@pytest.mark.parametrize(("sees", "left"), [({"target"}, 6), ({"target", "target_labels"}, 0)])
@pytest.mark.parametrize("workers", [0, 1])
def test_what_a_method_learns_labels_of_is_not_left_out(folders: tuple[Path, Path], sees: set[str], left: int, workers: int) -> None:
    pool = DomainPool({"target": open_domain(f"folder:{folders[0]}")}, None, frozenset(sees), torch.device("cpu"), workers)
    load: Callable[[], int] = lambda: sum(len(batch) for batch in pool.load([("target", index) for index in range(8)], 1))  # noqa: E731
    if left:
        assert load() == left
        assert load() == left
        assert set(pool.left_out()) == {"f0", "f3"}
    else:
        with pytest.raises(DataError, match=r"f0\.png"):
            load()


def test_what_was_mixed_is_counted_without_them() -> None:
    """16 images of which 4 are unreadable are 12: fewer than statistics need to stand still."""

    class Pool:
        generator, sizes = torch.Generator(), {"target": 16}

        def on_all(self, action: Any) -> list[Any]:
            return [action()]

        def left_out(self) -> dict[str, str]:
            return dict.fromkeys("abcd", "cut off")

        def constant(self) -> list[str]:
            return []

        def load(self, picks: Any, batch_size: int) -> Any:
            yield Batch(torch.rand(12, 3, 32, 32), None, None, ("x",) * 12)

    model = create_model("unet", encoder="resnet18", classes=5, seed=0)
    done = AdaBN(pseudo_count=4.0).adapt(model, Pool())
    assert "from 12 target and 0 source images" in done["said"]
    assert done["remarks"] == ["12 target images are few: below 16 the statistics change from one set of images to the next"]
