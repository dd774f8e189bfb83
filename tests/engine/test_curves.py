"""Scores counted by an evaluation: those of the logits at the labels' size, in the run folder, equal however they were counted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from lightning_fabric import Fabric
from PIL import Image

from segshift.cli import main
from segshift.data.dataset import open_domain
from segshift.data.label_space import LabelSpace, mapping
from segshift.engine import prediction, scoring
from segshift.engine.counting import ScoreCounter
from segshift.engine.evaluate import evaluate_run
from segshift.engine.run import Run
from segshift.engine.scoring import Scores, score
from segshift.errors import DataError, MissingDataError, WeightsError
from segshift.methods.losses import cross_entropy
from segshift.metrics import ScoreHistogram, score_curves

TEST = "streets::test?size=64x32&count=3"
LARGE = "streets::test?size=128x64&count=3"  # twice what the model sees


def moved(a: np.ndarray, b: np.ndarray) -> int:
    """The most pixels that lie on other sides of a bin's edge: the last bits of logits differ with the order of their sums."""
    return int(np.abs(a.cumsum(-1) - b.cumsum(-1)).max())


def expected_counts(run: Run, domain: str) -> np.ndarray:
    """Counted image by image from logits at the labels' size, with nothing of the engine."""
    model, dataset = run.load_model(), open_domain(domain)
    histogram = ScoreHistogram(len(run.label_space))
    for sample in dataset:
        image = F.interpolate(sample.image[None].float(), size=run.size, mode="bilinear", antialias=True).round() / 255
        with torch.no_grad():
            logits = F.interpolate(model(image), size=sample.label.shape, mode="bilinear", align_corners=False)
        histogram.update(logits, sample.label[None])
    return histogram.counts


def test_an_evaluation_keeps_its_curves_and_nothing_else_changes(source_run: Run) -> None:
    plain = evaluate_run(source_run, TEST, "curved", workers=0)
    assert "curves" not in plain.record
    with pytest.raises(MissingDataError, match=r"curved in .* has no curves: `segshift evaluate .*source --domain 'curved:=streets::test\?.*' --curves`"):
        _ = plain.score_counts
    curved = evaluate_run(source_run, TEST, "curved", workers=0, curves=True)
    np.testing.assert_array_equal(curved.confusions, plain.confusions)
    assert curved.record["miou"] == plain.record["miou"]
    assert moved(curved.score_counts, expected_counts(source_run, TEST)) <= 3
    assert (curved.score_counts.sum((0, 2)) == curved.confusions.sum()).all()
    found, record = score_curves(curved.score_counts), curved.record["curves"]
    assert record["mean_roc_auc"] == found.mean_roc_auc
    assert [np.nan if value is None else value for value in record["roc_auc"]] == pytest.approx(found.roc_auc, nan_ok=True)
    assert None in record["average_precision"]  # a class that is not on these streets
    assert not [file for file in curved.arrays.parent.iterdir() if file.name.startswith(".")]
    assert "curves" not in evaluate_run(source_run, TEST, "curved", workers=0).record


def test_strips_and_batches_change_nothing(source_run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = evaluate_run(source_run, LARGE, "large", batch_size=3, workers=0, curves=True)
    monkeypatch.setattr(prediction, "CELLS_AT_A_TIME", 19 * 128 * 7)  # strips of 7 rows
    strips = evaluate_run(source_run, LARGE, "large", batch_size=1, workers=0, curves=True)
    np.testing.assert_array_equal(strips.confusions, whole.confusions)
    assert moved(strips.score_counts, whole.score_counts) <= 10  # of 24 576 pixels
    assert strips.record["curves"]["mean_roc_auc"] == pytest.approx(whole.record["curves"]["mean_roc_auc"], abs=1e-5)  # some pixels move to the bin beside


def test_parts_of_several_processes_add_up(source_run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    class Place(Fabric):
        """One of several processes, without the others."""

        world_size, global_rank = 2, 0

        def __init__(self) -> None:
            pass

    def on_all(fabric: Place | None, action: Callable[[], Scores]) -> list[Scores]:
        if fabric is None:
            return [action()]
        parts = []
        for place in range(fabric.world_size):
            Place.global_rank = place
            parts.append(action())
        return parts

    monkeypatch.setattr(scoring, "on_all", on_all)
    data = (scoring.without_gradients(source_run.load_model()), open_domain(TEST), source_run.label_space, source_run.size, 1)
    one, two = (score(*data, fabric=fabric, curves=True, criterion=cross_entropy) for fabric in (None, Place()))
    assert two.loss == pytest.approx(one.loss, rel=1e-6)
    np.testing.assert_array_equal(one.score_counts, two.score_counts)
    np.testing.assert_array_equal(one.confusions, two.confusions)


def test_scores_of_common_classes_are_sums() -> None:
    colors = ((0, 0, 0), (1, 1, 1), (2, 2, 2), (3, 3, 3))
    model, data = LabelSpace("a", ("road", "moon", "rider", "bicycle"), colors, None), LabelSpace("b", ("bicyclist", "road", "sea"), colors[:3], None)
    to_common, from_label, common = mapping(model, data)
    assert len(common) == 2
    generator = torch.Generator().manual_seed(0)
    logits, label = torch.randn(4, 8, 9, generator=generator), torch.randint(0, 3, (8, 9), generator=generator).to(torch.uint8)
    counter = ScoreCounter(len(common), torch.as_tensor(to_common), torch.as_tensor(from_label))
    chosen = counter.label_map(logits, label)
    assert torch.equal(chosen, logits.argmax(0).to(torch.uint8))  # the model's own classes: they are mapped later
    scores = torch.softmax(logits.double(), 0)
    summed = torch.stack([scores[torch.as_tensor(to_common)[:4] == k].sum(0) for k in range(len(common))])
    rest = 1 - summed.sum(0, keepdim=True)
    assert rest.max() > 0.05  # classes without counterpart took their share
    expected = ScoreHistogram(len(common))
    expected.update(torch.cat([summed, rest]).log().float(), torch.as_tensor(from_label)[label.long()])
    assert moved(counter.histogram.counts, expected.counts) <= 2
    assert counter.histogram.counts[1].sum() == (label < 2).sum()  # the sea is in no common class


def test_another_label_space_has_its_curves_over_the_common_classes(source_run: Run, tmp_path: Path) -> None:
    for folder in ("train", "trainannot"):
        (tmp_path / folder).mkdir()
    Image.effect_noise((60, 45), 90).convert("RGB").save(tmp_path / "train" / "0001TP_000001.png")
    Image.fromarray(np.tile(np.arange(12, dtype=np.uint8), (45, 5))).save(tmp_path / "trainannot" / "0001TP_000001.png")
    evaluation = evaluate_run(source_run, f"camvid:{tmp_path}:train", "other", workers=0, curves=True)
    assert evaluation.score_counts.shape[1] == len(evaluation.record["classes"]) == 11
    assert (evaluation.score_counts.sum((0, 2)) == 45 * 55).all()  # void is not counted


def test_logits_that_are_no_numbers_have_their_line(source_run: Run) -> None:
    def predict(images: torch.Tensor) -> torch.Tensor:
        return torch.full((len(images), 19, *images.shape[2:]), torch.nan)

    with pytest.raises(DataError, match="NaN or infinite"):
        score(predict, open_domain(TEST), source_run.label_space, source_run.size, curves=True)


def test_the_command_counts_and_says_the_means(source_run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["evaluate", str(source_run.path), "--domain", f"typed:={TEST}", "--workers", "0", "--curves"])
    assert not stopped.value.code
    evaluation = next(e for e in source_run.evaluations() if e.name == "typed")
    found = (evaluation.record["miou"], evaluation.record["curves"]["mean_roc_auc"], evaluation.record["curves"]["mean_average_precision"])
    said = "mIoU {:.1f} %, mean AUC {:.1f} %, mean average precision {:.1f} %".format(*(100 * figure for figure in found))
    assert said in capsys.readouterr().out
    assert evaluation.score_counts.sum() > 0
    evaluation.arrays.write_bytes(evaluation.arrays.read_bytes()[:-40])
    with pytest.raises(WeightsError, match="evaluate again"):
        _ = next(e for e in source_run.evaluations() if e.name == "typed").score_counts
