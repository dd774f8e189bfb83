from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torchmetrics.classification as peer
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision import tv_tensors

from segshift.errors import DataError
from segshift.metrics import confusion, counting
from segshift.metrics.confusion import ConfusionMatrix, confusion_matrix
from segshift.metrics.counting import count_with_numba, count_with_torch

K = 19
PATIENT = settings(deadline=None)  # the first example may have to compile
DTYPES = (np.uint8, np.int64, np.int32, np.int16, np.uint16)


def draw_pair(seed: int, size: tuple[int, ...] = (37, 131), classes: int = K, ignored: int | None = 255) -> tuple[np.ndarray, np.ndarray]:
    """A label in patches, so that runs of equal pixels occur, and a prediction that is right in 8 of 10 pixels; both int64."""
    rng = np.random.default_rng(seed)
    pixels = int(np.prod(size))
    label = np.repeat(rng.integers(0, classes, pixels // 11 + 1), 11)[:pixels]
    pred = np.where(rng.random(pixels) < 0.2, rng.integers(0, classes, pixels), label)
    if ignored is not None:
        label[rng.random(pixels) < 0.1] = ignored
    return pred.reshape(size), label.reshape(size)


def count_by_hand(pred: np.ndarray, label: np.ndarray, classes: int, ignored: int | None) -> np.ndarray:
    """The definition, pixel by pixel."""
    matrix = np.zeros((classes, classes), np.int64)
    for guess, truth in zip(pred.flat, label.flat, strict=True):
        if truth != ignored:
            matrix[truth, guess] += 1
    return matrix


def assert_equal_counts(found: tuple[np.ndarray, int, int], expected: tuple[np.ndarray, int, int]) -> None:
    np.testing.assert_array_equal(found[0], expected[0])
    assert found[1:] == expected[1:]


def draw_matrices(seed: int, *batch: int) -> np.ndarray:
    """Matrices with a class that is absent (3) and one that is predicted but not in the truth (4)."""
    matrices = np.random.default_rng(seed).integers(0, 50, (*batch, 6, 6))
    matrices[..., 3, :] = 0
    matrices[..., :, 3] = 0
    matrices[..., 4, :] = 0
    return matrices


@pytest.mark.parametrize("label_dtype", DTYPES)
@pytest.mark.parametrize("pred_dtype", DTYPES)
def test_every_pair_of_dtypes_is_exact(pred_dtype: Any, label_dtype: Any) -> None:
    pred, label = draw_pair(0)
    expected = count_by_hand(pred, label, K, 255)
    pred, label = pred.astype(pred_dtype), label.astype(label_dtype)
    np.testing.assert_array_equal(confusion_matrix(pred, label, K), expected)
    assert_equal_counts(count_with_torch(pred, label, K, 255), (expected, 0, 0))


@pytest.mark.parametrize("pixels", [0, 1, 7, 8, 9, 4095, 4096, 4097, 3 * 4096 + 5])
def test_no_pixel_is_lost_at_the_end_of_a_chunk(pixels: int) -> None:
    pred, label = draw_pair(pixels, (pixels,), ignored=None)
    matrix = confusion_matrix(pred.astype(np.uint8), label.astype(np.uint8), K)
    np.testing.assert_array_equal(matrix, count_by_hand(pred, label, K, None))


@pytest.mark.parametrize("ignored", [255, 0, 18, -1, -100, 70000, None])
@pytest.mark.parametrize("dtype", [np.uint8, np.int64])
def test_any_value_can_be_ignored(ignored: int | None, dtype: Any) -> None:
    pred, label = draw_pair(1, ignored=ignored if dtype == np.int64 or ignored in range(256) else None)
    expected = count_by_hand(pred, label, K, ignored)
    pred, label = pred.astype(dtype), label.astype(dtype)
    np.testing.assert_array_equal(confusion_matrix(pred, label, K, ignored), expected)
    assert_equal_counts(count_with_torch(pred, label, K, ignored), (expected, 0, 0))


@pytest.mark.parametrize("classes", [1, 2, 11, 150, 179, 180, 253, 254, 255, 300])
def test_few_and_many_classes(classes: int) -> None:
    pred, label = draw_pair(2, classes=classes, ignored=-1)
    np.testing.assert_array_equal(confusion_matrix(pred, label, classes, -1), count_by_hand(pred, label, classes, -1))
    if classes <= 256:
        pred, label = draw_pair(2, classes=classes, ignored=None)
        expected = count_by_hand(pred, label, classes, None)
        np.testing.assert_array_equal(confusion_matrix(pred.astype(np.uint8), label.astype(np.uint8), classes, None), expected)


@pytest.mark.parametrize("dtype", [np.uint8, np.int64])
@pytest.mark.parametrize("ignored", [255, 0, 18, None])
@PATIENT
@given(seed=st.integers(0, 2**32 - 1), classes=st.integers(1, 30))
def test_torch_and_numba_agree_on_right_and_wrong_values(ignored: int | None, dtype: Any, seed: int, classes: int) -> None:
    low = 0 if dtype == np.uint8 else -30
    pred, label = (x.astype(dtype) for x in np.random.default_rng(seed).integers(low, 30, (2, 200)))
    label[:20] = 255
    assert_equal_counts(count_with_torch(pred, label, classes, ignored), count_with_numba(pred, label, classes, ignored))


def test_counting_without_numba_is_equal(monkeypatch: pytest.MonkeyPatch) -> None:
    pred, label = draw_pair(3)
    compiled = confusion_matrix(pred, label, K)
    monkeypatch.setattr(counting, "numba_works", lambda: False)
    monkeypatch.setattr(counting, "count_with_numba", None)
    np.testing.assert_array_equal(confusion_matrix(pred, label, K), compiled)


def test_layout_and_ownership_of_the_memory_do_not_matter() -> None:
    pred, label = draw_pair(4)
    expected = count_by_hand(pred, label, K, 255)
    locked = label.astype(np.uint8)
    locked.flags.writeable = False
    swapped = label.astype(">u2")
    mirrored = np.ascontiguousarray(label[:, ::-1])[:, ::-1]
    for other in (locked, swapped, mirrored, np.asfortranarray(label), torch.from_numpy(label), tv_tensors.Mask(torch.from_numpy(label))):
        np.testing.assert_array_equal(confusion_matrix(pred, other, K), expected)
        assert_equal_counts(count_with_torch(pred, other, K, 255), (expected, 0, 0))
        np.testing.assert_array_equal(confusion_matrix(torch.from_numpy(pred), other, K), expected)
    assert locked[0, 0] == label[0, 0]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_tensors_on_an_accelerator_are_counted_there() -> None:
    pred, label = draw_pair(5)
    expected = count_by_hand(pred, label, K, 255)
    on_device = torch.from_numpy(pred).cuda()
    np.testing.assert_array_equal(confusion_matrix(on_device, torch.from_numpy(label).cuda(), K), expected)
    np.testing.assert_array_equal(confusion_matrix(on_device, label, K), expected)
    np.testing.assert_array_equal(confusion_matrix(pred, torch.from_numpy(label.astype(np.uint8)).cuda(), K), expected)


# 256 and 2^32 would be class 0 to whoever narrows before looking.
@pytest.mark.parametrize(("value", "dtype"), [(19, np.uint8), (255, np.uint8), (256, np.int64), (2**32, np.int64), (-1, np.int16), (-(2**63), np.int64)])
@pytest.mark.parametrize("numba", [True, False])
@pytest.mark.parametrize("ignored", [255, None])
def test_values_outside_the_classes_are_refused_by_name(value: int, dtype: Any, numba: bool, ignored: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counting, "numba_works", lambda: numba)
    good, label = (x.astype(dtype) for x in draw_pair(6, ignored=None))
    bad = good.copy()
    bad[3, 4] = bad[7, 8] = value
    with pytest.raises(DataError, match=rf"^prediction holds the value {value} in 2 pixels: allowed is 0 to 18; .*classes=19"):
        confusion_matrix(bad, label, K, ignored)
    if value != ignored:
        with pytest.raises(DataError, match=rf"^label holds the value {value} in 2 pixels: allowed is 0 to 18( and 255 \(ignored\))?; decode"):
            confusion_matrix(good, bad, K, ignored)


def test_a_prediction_under_an_ignored_label_may_be_anything() -> None:
    pred, label = draw_pair(7)
    anything = np.where(label == 255, 77, pred)
    np.testing.assert_array_equal(confusion_matrix(anything, label, K), confusion_matrix(pred, label, K))
    anything[label == 3] = 77
    wrong = (label == 3).sum()
    with pytest.raises(DataError, match=f"value 77 in {wrong} pixels"):
        confusion_matrix(anything, label, K)


def test_input_that_is_no_pair_of_class_maps_is_refused() -> None:
    label = np.zeros((4, 6), np.uint8)
    with pytest.raises(DataError, match=r"pred has shape \(4, 5\) and label \(4, 6\)"):
        confusion_matrix(np.zeros((4, 5), np.uint8), label, 2)
    for logits in (torch.zeros(4, 6), np.zeros((4, 6)), torch.zeros(4, 6, dtype=torch.bool)):
        with pytest.raises(DataError, match=r"pred has dtype .*argmax"):
            confusion_matrix(logits, label, 2)
    with pytest.raises(DataError, match="0 classes"):
        ConfusionMatrix(classes=0)
    with pytest.raises(DataError, match=r"merge .*\(2, 255\) and \(2, None\)"):
        ConfusionMatrix(2).merge(ConfusionMatrix(2, None))


def test_a_refused_pair_leaves_the_counts_as_they_were() -> None:
    cm = ConfusionMatrix(2)
    cm.update(np.array([0, 1]), np.array([0, 0]))
    with pytest.raises(DataError):
        cm.update(np.array([0, 2]), np.array([0, 0]))
    assert cm.matrix.tolist() == [[1, 1], [0, 0]]
    cm.reset()
    assert cm.matrix.sum() == 0


def test_figures_equal_torchmetrics() -> None:
    pred, label = (torch.from_numpy(x) for x in draw_pair(8))
    cm = ConfusionMatrix(K)
    cm.update(pred, label)
    setting: Any = {"num_classes": K, "ignore_index": 255}
    np.testing.assert_array_equal(cm.matrix, peer.MulticlassConfusionMatrix(**setting)(pred, label))
    close: Any = {"rtol": 1e-6}  # the peer computes in float32
    np.testing.assert_allclose(cm.iou(), peer.MulticlassJaccardIndex(**setting, average="none")(pred, label), **close)
    np.testing.assert_allclose(cm.miou(), peer.MulticlassJaccardIndex(**setting)(pred, label), **close)
    np.testing.assert_allclose(cm.class_dice(), peer.MulticlassF1Score(**setting, average="none")(pred, label), **close)
    np.testing.assert_allclose(cm.dice(), peer.MulticlassF1Score(**setting, average="macro")(pred, label), **close)
    np.testing.assert_allclose(cm.class_accuracy(), peer.MulticlassAccuracy(**setting, average="none")(pred, label), **close)
    np.testing.assert_allclose(cm.mean_accuracy(), peer.MulticlassAccuracy(**setting, average="macro")(pred, label), **close)
    np.testing.assert_allclose(cm.accuracy(), peer.MulticlassAccuracy(**setting, average="micro")(pred, label), **close)
    np.testing.assert_allclose(cm.frequency_weighted_iou(), peer.MulticlassJaccardIndex(**setting, average="weighted")(pred, label), **close)


def test_miou_leaves_out_the_classes_that_torchmetrics_leaves_out() -> None:
    pred, label = (torch.from_numpy(x) for x in draw_pair(9, classes=12))
    pred[0, :5] = 15
    assert ConfusionMatrix(K).miou() != ConfusionMatrix(K).miou(), "nothing counted: NaN"
    ours = float(confusion.miou(confusion_matrix(pred, label, K)))
    theirs = float(peer.MulticlassJaccardIndex(num_classes=K, ignore_index=255)(pred, label))
    assert ours == pytest.approx(theirs, rel=1e-6)  # float32 there
    assert ours == pytest.approx(np.nansum(confusion.iou(confusion_matrix(pred, label, K))) / 13, rel=1e-12)


def test_figures_equal_their_definition_on_sets_of_pixels() -> None:
    pred, label = draw_pair(10, classes=12)
    pred[0, :5] = 15
    pred, label = pred[label != 255], label[label != 255]
    ious, dices, recalls, weighted = [], [], [], 0.0
    for k in range(K):
        truth, guess = set(np.flatnonzero(label == k)), set(np.flatnonzero(pred == k))
        if truth | guess:
            ious.append(len(truth & guess) / len(truth | guess))
            dices.append(2 * len(truth & guess) / (len(truth) + len(guess)))
            weighted += len(truth) / len(label) * ious[-1]
        if truth:
            recalls.append(len(truth & guess) / len(truth))
    cm = ConfusionMatrix(K)
    cm.update(pred, label)
    got = [cm.miou(), cm.dice(), cm.mean_accuracy(), cm.accuracy(), cm.frequency_weighted_iou()]
    expected = [np.mean(ious), np.mean(dices), np.mean(recalls), np.mean(pred == label), weighted]
    assert got == pytest.approx(expected, rel=1e-12)  # rounding of sums in another order


def test_absent_and_only_predicted_classes() -> None:
    matrix = draw_matrices(0)
    assert np.isnan(confusion.iou(matrix)).tolist() == [False, False, False, True, False, False]
    assert confusion.iou(matrix)[4] == 0
    assert np.isnan(confusion.class_accuracy(matrix)).tolist() == [False, False, False, True, True, False]
    kept = confusion.iou(matrix)[[0, 1, 2, 4, 5]]
    assert float(confusion.miou(matrix)) == pytest.approx(kept.mean(), rel=1e-12)
    assert set(confusion.DEFINITIONS) >= {"iou", "miou", "dice", "accuracy", "mean_accuracy", "frequency_weighted_iou"}


def test_predictions_of_no_class_are_misses() -> None:
    pred, label = draw_pair(11, classes=6)
    wide = confusion_matrix(pred, np.where(label == 5, 255, label), 6)[:5]
    truth, hit = wide.sum(1), wide.diagonal()
    assert wide[:, 5].sum() > 0
    guess = np.array([((pred == k) & (label < 5)).sum() for k in range(5)])
    np.testing.assert_allclose(confusion.iou(wide), hit / (truth + guess - hit), rtol=1e-12)
    assert float(confusion.accuracy(wide)) == pytest.approx(hit.sum() / (label < 5).sum(), rel=1e-12)
    assert (confusion.iou(wide) < confusion.iou(wide[:, :5])).all(), "leaving them out would flatter"
    with pytest.raises(DataError, match=r"shape \(5, 3\)"):
        confusion.iou(wide[:, :3])


FIGURES = [getattr(confusion, name) for name in confusion.DEFINITIONS]


@pytest.mark.parametrize("figure", FIGURES)
def test_a_stack_of_matrices_gives_each_one_s_figure(figure: Any) -> None:
    matrices = draw_matrices(1, 2, 5)
    matrices[0, 2] = 0
    stacked = figure(matrices)
    single = [[figure(matrices[i, j]) for j in range(5)] for i in range(2)]
    np.testing.assert_array_equal(stacked, np.array(single))
    assert np.isnan(stacked[0, 2]).all(), "nothing counted: NaN, without a warning"


pairs = st.lists(st.tuples(st.integers(0, 2**32 - 1), st.integers(1, 40)), min_size=1, max_size=6)


def count_images(images: list[tuple[int, int]]) -> list[tuple[np.ndarray, np.ndarray]]:
    return [draw_pair(seed, (pixels, 3), classes=5) for seed, pixels in images]


@PATIENT
@given(pairs, st.randoms(use_true_random=False))
def test_merging_parts_in_any_order_equals_one_pass(images: list[tuple[int, int]], random: Any) -> None:
    drawn = count_images(images)
    whole = confusion_matrix(np.concatenate([pred for pred, _ in drawn]), np.concatenate([label for _, label in drawn]), classes=5)
    parts = []
    for pred, label in drawn:
        part = ConfusionMatrix(5)
        part.update(pred, label)
        parts.append(part)
    while len(parts) > 1:
        random.shuffle(parts)
        parts[0].merge(parts.pop())
    np.testing.assert_array_equal(parts[0].matrix, whole)


@PATIENT
@given(pairs, st.randoms(use_true_random=False))
def test_miou_does_not_depend_on_the_order_of_images(images: list[tuple[int, int]], random: Any) -> None:
    drawn = count_images(images)
    first, second = ConfusionMatrix(5), ConfusionMatrix(5)
    for pair in drawn:
        first.update(*pair)
    random.shuffle(drawn)
    for pair in drawn:
        second.update(*pair)
    np.testing.assert_equal(first.miou(), second.miou())  # NaN equals NaN here


@PATIENT
@given(st.integers(0, 2**32 - 1), st.permutations(range(7)))
def test_renaming_the_classes_renames_their_iou(seed: int, order: list[int]) -> None:
    pred, label = draw_pair(seed, (60,), classes=7)
    new = np.concatenate([order, np.full(249, 255)])  # 255 stays 255
    before, after = ConfusionMatrix(7), ConfusionMatrix(7)
    before.update(pred, label)
    after.update(new[pred], new[label])
    np.testing.assert_array_equal(after.iou()[order], before.iou())
    assert after.miou() == pytest.approx(before.miou(), rel=1e-12, nan_ok=True)  # sums in another order
