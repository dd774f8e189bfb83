"""Estimates without labels, from a run folder and on the command line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from rich.console import Console

from segshift.cli import main
from segshift.data.dataset import open_domain
from segshift.diagnose.drift import PooledMoments, watch_inputs
from segshift.engine.adapt import adaptation_recipe
from segshift.engine.calibration import PixelSample, calibrate, file_of, find_validation, read_calibration
from segshift.engine.checkpoint import load_state, save_state
from segshift.engine.confidence import Shown, Signals, show
from segshift.engine.drift import Drift, estimate_drift
from segshift.engine.evaluate import evaluate_run
from segshift.engine.execute import execute
from segshift.engine.logs import Reporter
from segshift.engine.read_recipe import validate_recipe
from segshift.engine.rehearsal import CORRUPTIONS
from segshift.engine.run import Run
from segshift.errors import DataError, RecipeError, TrainingError, WeightsError
from segshift.methods.consistency import Agreement, agreement_on
from segshift.metrics.calibration import ConfidenceCounts
from segshift.weather import WEATHER

CLEAR = "streets::test?count=12&size=64x32"
VALIDATION = "streets::val?count=12&size=64x32"


def kept_in(run: Run, domain: str = VALIDATION) -> Path:
    return file_of(run, open_domain(domain, depth=False))


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Run:
    recipe = validate_recipe(
        {
            "model": {"encoder": "resnet18"},
            "data": {"source": "streets::train?count=48&size=64x32", "validation": VALIDATION, "size": [32, 64]},
            "training": {"epochs": 4, "batch_size": 8},
            "compute": {"workers": 0, "device": "cpu"},
        }
    )
    run = execute(recipe, tmp_path_factory.mktemp("source") / "run")
    calibrate(run)
    return run


def test_on_its_validation_split_a_run_estimates_what_it_measured(source: Run) -> None:
    found = estimate_drift(source, VALIDATION)
    kept = read_calibration(kept_in(source))
    assert found.true_accuracy == pytest.approx(kept.source.accuracy)
    assert found.estimates.accuracy["doc"] == pytest.approx(kept.source.accuracy, abs=1e-6)
    assert found.estimates.iou["soft-difference"] == pytest.approx(kept.source.iou, abs=1e-6, nan_ok=True)
    assert found.estimates.iou["rehearsed"] == pytest.approx(kept.source.iou, abs=1e-6, nan_ok=True)
    assert found.distance == pytest.approx(0, abs=1e-12)
    assert found.alarm is False
    assert kept.ece[1] < kept.ece[0]


def test_the_truth_beside_the_estimate_is_the_evaluation_s(source: Run) -> None:
    found = estimate_drift(source, CLEAR)
    record = evaluate_run(source, CLEAR, "clear", workers=0).record
    assert found.true_miou == pytest.approx(record["miou"])
    assert found.true_accuracy == pytest.approx(record["accuracy"])


def test_dense_fog_lies_further_away_than_clear_streets(source: Run) -> None:
    clear, fog = (estimate_drift(source, domain) for domain in (CLEAR, f"{CLEAR}+fog=0.05"))
    assert fog.distance > 3 * clear.distance
    assert fog.alarm
    assert set(fog.layers) == set(clear.layers)
    assert len(fog.layers) == 30


def test_a_calibration_is_fitted_once_and_anew_for_other_weights(source: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calibrate(source)
    run = Run.open(shutil.copytree(source.path, tmp_path / "run"))
    state = load_state(run.checkpoint())
    name = next(name for name in state["model"] if name.endswith("bn1.bias"))
    state["model"][name] = state["model"][name] + 0.01
    save_state(run.checkpoint(), state)
    with monkeypatch.context() as patch:
        patch.setattr("segshift.engine.calibration._fit", lambda *_: pytest.fail("fitted"))
        calibrate(source)
        with pytest.raises(pytest.fail.Exception):
            calibrate(run)
        patch.setattr("segshift.engine.calibration.rehearsals", lambda: "c_fog@4:2 32")
        with pytest.raises(pytest.fail.Exception):
            calibrate(source)  # other pictures of the corruptions


def test_each_source_has_its_file_and_a_damaged_one_is_fitted_anew(source: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run.open(shutil.copytree(source.path, tmp_path / "run", ignore=shutil.ignore_patterns("calibration*")))
    other = "streets::val?count=9&size=64x32"
    fitted = calibrate(run), calibrate(run, other)
    assert kept_in(run).is_file()
    assert kept_in(run, other).is_file()
    with monkeypatch.context() as patch:
        patch.setattr("segshift.engine.calibration._fit", lambda *_: pytest.fail("fitted again"))
        assert torch.equal(calibrate(run).temperatures, fitted[0].temperatures)
        assert torch.equal(calibrate(run, other).temperatures, fitted[1].temperatures)
    kept_in(run).write_bytes(b"cut")
    assert calibrate(run).temperatures.shape == (19,)


def test_what_cannot_be_kept_is_used(source: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A run folder that cannot be written costs the fit once more, not the fit."""
    run = Run.open(shutil.copytree(source.path, tmp_path / "run", ignore=shutil.ignore_patterns("calibration*")))

    def refuse(*_: object) -> None:
        raise TrainingError("calibration.safetensors cannot be written: Read-only file system")

    monkeypatch.setattr("segshift.engine.calibration.save_state", refuse)
    assert calibrate(run, reporter=Reporter(Console())).temperatures.shape == (19,)
    assert "is used but not kept" in capsys.readouterr().out
    assert not kept_in(run).exists()


def test_a_source_of_few_images_gives_estimates_without_an_alarm(source: Run, tmp_path: Path) -> None:
    run = Run.open(shutil.copytree(source.path, tmp_path / "run", ignore=shutil.ignore_patterns("calibration*")))
    found = estimate_drift(run, CLEAR, "streets::val?count=5&size=64x32")
    assert found.distance > 0
    assert found.alarm is found.alarm_above is None
    assert "there are 5: at least 8" in found.no_alarm
    assert "--source" in found.no_alarm
    assert 0 < found.estimates.miou("rehearsed") < 1
    for rate in (0.0, 2.0):
        with pytest.raises(RecipeError, match="false_alarms is"):
            estimate_drift(run, CLEAR, false_alarms=rate)


def test_a_class_that_the_source_s_labels_lack_is_left_out_though_predicted(source: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One wrong pixel would make it 0 in every mean."""
    kept = read_calibration(kept_in(source))
    absent = int(np.nanargmax(kept.source.iou))  # predicted often
    monkeypatch.setattr("segshift.engine.calibration.labels_of", lambda *_: np.where(np.arange(256) == absent, 255, np.arange(256)).astype(np.uint8))
    run = Run.open(shutil.copytree(source.path, tmp_path / "run", ignore=shutil.ignore_patterns("calibration*")))
    found = calibrate(run)
    assert kept.source.shares[absent] > 0
    assert np.isnan(found.source.iou[absent])
    assert found.source.miou == pytest.approx(float(np.nanmean(found.source.iou)))


def labelled_streets(root: Path, count: int, void: bool = False) -> str:
    """Drawn streets as a folder of images and labels."""
    dataset = open_domain(CLEAR)
    for kind in ("images", "labels"):
        (root / kind).mkdir(parents=True)
    for index in range(count):
        sample = dataset[index]
        Image.fromarray(sample.image.permute(1, 2, 0).numpy()).save(root / "images" / f"{index}.png")
        Image.fromarray(np.full_like(sample.label.numpy(), 255) if void else sample.label.numpy()).save(root / "labels" / f"{index}.png")
    names = dataset.label_space.classes
    (root / "mapping.yaml").write_text(yaml.safe_dump({"classes": list(names), "ids": {k: k for k in range(len(names))}}))
    return f"folder:{root}?labels=mapping.yaml"


def test_a_domain_of_void_alone_has_no_truth(source: Run, tmp_path: Path) -> None:
    calibrate(source)
    found = estimate_drift(source, labelled_streets(tmp_path / "void", 3, void=True))
    assert np.isnan(found.true_miou)
    written = json.dumps(found.to_json(), allow_nan=False)
    assert '"true_miou": null' in written
    assert '"true_accuracy": null' in written


def test_a_damaged_label_costs_the_truth_and_no_image(source: Run, tmp_path: Path) -> None:
    calibrate(source)
    domain = labelled_streets(tmp_path / "streets", 4)
    whole = estimate_drift(source, domain)
    for index in range(3):  # more than half of them
        label = tmp_path / "streets" / "labels" / f"{index}.png"
        label.write_bytes(label.read_bytes()[:-40])
    found = estimate_drift(source, domain)
    assert (found.images, dict(found.unreadable), sorted(found.unlabelled)) == (4, {}, ["0", "1", "2"])
    assert found.distance == pytest.approx(whole.distance)
    assert found.miou == pytest.approx(whole.miou)
    assert found.confusion.sum() < whole.confusion.sum()
    assert str(found).splitlines()[0].endswith(": 4 images, 3 without a readable label (0, 1, 2)")


def test_large_pictures_are_counted_in_strips(monkeypatch: pytest.MonkeyPatch) -> None:
    label = torch.randint(0, 4, (50, 30), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    logits = torch.randn(4, 12, 8, generator=torch.Generator().manual_seed(1))
    shown = Shown(torch.zeros(3, 12, 8, dtype=torch.uint8), (50, 30), label)
    ((whole, _),) = shown.strips(logits)
    monkeypatch.setattr("segshift.engine.prediction.CELLS_AT_A_TIME", 4 * 30 * 7)
    strips = list(shown.strips(logits))
    assert [part.shape[2] for part, _ in strips] == [7] * 7 + [1]
    assert torch.allclose(torch.cat([part for part, _ in strips], 2), whole, atol=1e-6)
    assert torch.equal(torch.cat([part for _, part in strips], 1)[0], label)


def test_what_is_seen_of_an_image_is_what_the_model_answers(source: Run) -> None:
    """Logits, confidence, agreement and moments of three images, against passes of its own; the other views leave the moments alone."""
    dataset, model = open_domain(VALIDATION, depth=False), source.load_model()
    signals = Signals(source.load_model(), "cpu", torch.ones(19))
    counts, agreement, pooled = ConfidenceCounts(torch.ones(19)), Agreement(), PooledMoments()
    for index in (1, 4, 7):
        image = dataset[index].image[None] / 255
        with watch_inputs(model) as moments, torch.no_grad():
            logits = model(image)
        ((answer, label),) = signals.look(show(dataset[index], source.size))
        assert torch.allclose(answer, logits, atol=1e-5)
        assert torch.equal(label[0], dataset[index].label)
        counts.update(logits)
        agreement.update(model, image, logits)
        pooled.add(moments[0])
    assert signals.images == signals.pooled.images == 3
    assert np.array_equal(signals.counts.pixels, counts.pixels)
    assert not signals.counts.labelled.any()
    assert torch.allclose(signals.agreement.by_class(), agreement.by_class())
    for found, expected in zip(signals.pooled.pooled, pooled.pooled, strict=True):
        assert torch.allclose(found, expected)


def test_a_sample_of_pixels_is_bounded_over_the_whole_split() -> None:
    """Of 20 images of 300 pixels of one class, 50 pixels, as likely from the first image as from the last; void never."""
    sample = PixelSample(3, 50, torch.Generator().manual_seed(0))
    logits = torch.zeros(1, 3, 20, 20)
    logits[0, 1, :15] = 1
    for image in range(20):
        label = torch.full((1, 20, 20), image, dtype=torch.uint8)
        label[0, 15:18] = 255
        sample.update(logits, label)
    assert [len(labels) for labels in sample.labels] == [50, 50]
    assert [z.argmax(1).unique().tolist() for z in sample.logits] == [[0], [1]]
    assert 255 not in torch.cat(sample.labels)
    assert 7 < sample.labels[1].float().mean() < 12  # 9.5, with a standard error of 0.8


def test_what_is_rehearsed_needs_neither_depth_nor_labels_and_is_no_weather_of_ours() -> None:
    assert len(set(CORRUPTIONS)) == 13
    for name, _, severity in (text.partition("@") for text in CORRUPTIONS):
        weather = WEATHER[name]
        assert (weather.depth, weather.uses_labels, name[:2]) == ("unused", False, "c_")
        assert np.isfinite(weather.value(int(severity)))


def test_rehearsals_are_what_the_corrupted_split_scores(source: Run) -> None:
    """The point of one corruption, from evaluations of the corrupted and the clean split."""
    kept = calibrate(source).rehearsal
    assert len(kept.names) == len(kept.points) == 3
    split = VALIDATION
    clean, fog = (estimate_drift(source, domain) for domain in (split, f"{split}+c_fog@4"))
    lost_consistency, lost_confidence, distance, lost_miou, lost_accuracy = kept.points[kept.names.index("c_fog@4")]
    assert lost_consistency == pytest.approx((agreed_on(source, split) - agreed_on(source, f"{split}+c_fog@4"))[~np.isnan(fog.estimates.iou["soft"])].mean())
    assert lost_confidence == pytest.approx(clean.estimates.accuracy["soft"] - fog.estimates.accuracy["soft"], abs=1e-6)
    assert distance == pytest.approx(fog.distance, rel=1e-5)
    shown = clean.true_iou[~np.isnan(fog.estimates.iou["soft"])]
    assert lost_miou == pytest.approx(np.nanmean(shown) - mean_over(fog), abs=1e-6)
    assert lost_accuracy == pytest.approx(clean.true_accuracy - fog.true_accuracy, abs=1e-6)


def agreed_on(source: Run, domain: str) -> np.ndarray:
    """Consistency by class, all images at once."""
    images = torch.stack([sample.image for sample in open_domain(domain, depth=False)]) / 255
    return agreement_on(source.load_model(), [SimpleNamespace(images=images)]).by_class().numpy()


def mean_over(fog: Drift) -> float:
    """Over the classes that the estimates are averaged over; those that the corrupted images are wrongly said to show do not count."""
    return float(np.nan_to_num(fog.true_iou)[~np.isnan(fog.estimates.iou["soft"])].mean())


def test_a_calibration_of_another_version_is_fitted_anew(source: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    calibrate(source)
    monkeypatch.setattr("segshift.engine.calibration.VERSION", 99)
    with pytest.raises(WeightsError, match="written by another version of segshift"):
        read_calibration(kept_in(source))
    assert len(calibrate(source).rehearsal.names) == 3


def test_a_repair_is_judged_on_the_split_of_its_source(source: Run, tmp_path: Path) -> None:
    repaired = execute(adaptation_recipe(source.recipe, "adabn", target="streets::val?count=4&size=64x32+fog=0.02"), tmp_path / "adabn", source)
    assert find_validation(repaired) == find_validation(source)
    bare = execute(source.recipe.model_copy(update={"data": source.recipe.data.model_copy(update={"validation": None})}), tmp_path / "bare")
    with pytest.raises(RecipeError, match=r"has no validation split of its source.*--source DOMAIN"):
        calibrate(bare)


def test_unlabelled_and_foreign_domains(source: Run, tmp_path: Path, mini_camvid: Path) -> None:
    photos = tmp_path / "photos" / "images"
    photos.mkdir(parents=True)
    for index in range(3):
        Image.fromarray(np.full((20, 30, 3), 60 * index, np.uint8)).save(photos / f"{index}.png")
    with pytest.raises(DataError, match="has no labels, and a calibration needs them"):
        calibrate(source, f"folder:{photos.parent}")
    found = estimate_drift(source, f"folder:{photos.parent}")
    assert found.true_miou is None
    assert 0 <= found.estimates.miou("soft") <= 1
    assert np.isfinite(found.distance)
    with pytest.raises(DataError, match="calibrate on the model's own"):
        calibrate(source, f"camvid:{mini_camvid}:val")


def test_the_command_prints_and_writes_it(source: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["drift", str(source.path), CLEAR, f"dense:={CLEAR}+fog=0.05", "--out", str(tmp_path / "drift.json")])
    assert not ended.value.code
    said = " ".join(capsys.readouterr().out.split())
    assert "dense: 12 images ALARM" in said
    assert "9 of 10 rehearsals (3 corruptions of the source) stay within" in said
    clear, fog = json.loads((tmp_path / "drift.json").read_text())
    assert fog["distance"] > clear["distance"]
    assert fog["alarm"] is True
    assert set(clear["miou"]) == {"rehearsed", "soft", "soft-difference", "atc"}
    assert fog["miou"]["rehearsed"] < clear["miou"]["rehearsed"]
    assert 0 < clear["margin"]["miou"] < 0.3
    assert clear["true_miou"] == pytest.approx(estimate_drift(source, CLEAR).true_miou)
    kept = calibrate(source)
    assert clear["source"]["miou"] == pytest.approx(kept.source.miou)
    assert clear["accuracy"]["doc"] == pytest.approx(clear["accuracy"]["soft"] + kept.source.accuracy - kept.source.mean_confidence)


def test_no_domain_costs_another_its_estimates(source: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong name is said before anything is looked at, and an image that cannot be read after what was found before it."""
    calibrate(source)
    with monkeypatch.context() as patch:
        patch.setattr("segshift.engine.drift.estimate_drift", lambda *_, **__: pytest.fail("looked at a domain"))
        with pytest.raises(SystemExit) as ended:
            main(["drift", str(source.path), CLEAR, "stairs::test"])
        assert ended.value.code == 1
    photos = tmp_path / "images"
    photos.mkdir()
    (photos / "cut.png").write_bytes(b"not a picture")
    with pytest.raises(SystemExit) as ended:
        main(["drift", str(source.path), CLEAR, f"folder:{tmp_path}", "--out", str(tmp_path / "drift.json")])
    assert ended.value.code == 1
    capsys.readouterr()
    assert [line["images"] for line in json.loads((tmp_path / "drift.json").read_text())] == [12]


def test_an_unreadable_image_costs_itself_alone(source: Run, tmp_path: Path) -> None:
    calibrate(source)
    dataset = open_domain(CLEAR)
    for index in range(3):
        Image.fromarray(dataset[index].image.permute(1, 2, 0).numpy()).save(tmp_path / f"{index}.png")
    whole = estimate_drift(source, f"folder:{tmp_path}")
    (tmp_path / "cut.png").write_bytes((tmp_path / "0.png").read_bytes()[:300])
    found = estimate_drift(source, f"folder:{tmp_path}")
    assert (found.images, [*found.unreadable]) == (3, ["cut"])
    assert found.distance == pytest.approx(whole.distance)
    assert found.estimates.miou("rehearsed") == pytest.approx(whole.estimates.miou("rehearsed"))
    first, *others = str(found).splitlines()
    assert first == f"folder:{tmp_path}: 3 images, 1 left out, unreadable (cut)"
    assert found.miou == found.estimates.miou("rehearsed")
    assert len(repr(found)) < 500
    assert len(others) == 3
    assert max(map(len, others)) <= 80
    for index in range(3):
        (tmp_path / f"{index}.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"3 of 4 .*cannot be read, and at most half may be left out"):
        estimate_drift(source, f"folder:{tmp_path}")


def test_an_interruption_costs_the_rehearsals_alone(source: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run.open(shutil.copytree(source.path, tmp_path / "copy", ignore=shutil.ignore_patterns("calibration-*")))
    with monkeypatch.context() as patch:
        patch.setattr("segshift.engine.calibration.rehearse", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            calibrate(run)
    with monkeypatch.context() as patch:
        patch.setattr("segshift.engine.calibration._fit", lambda *_: pytest.fail("fitted twice"))
        assert calibrate(run).rehearsal.points == pytest.approx(calibrate(source).rehearsal.points)


def test_a_stopped_command_prints_what_it_found_and_how_it_goes_on(source: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    judged = iter([estimate_drift(source, CLEAR)])
    monkeypatch.setattr("segshift.engine.drift.estimate_drift", lambda *_, **__: next(judged, None) or (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(SystemExit) as stopped:
        main(["drift", str(source.path), f"clear:={CLEAR}", f"again:={CLEAR}"])
    said = capsys.readouterr().out
    assert stopped.value.code == 130
    assert "stopped at again; a finished calibration is kept" in said
    assert "\nclear: " in said


def test_what_the_run_learned_from_is_no_source_to_calibrate_on(source: Run) -> None:
    with pytest.raises(DataError, match="learned from the labels of"):
        calibrate(source, source.recipe.data.source)
