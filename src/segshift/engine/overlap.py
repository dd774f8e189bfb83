"""Images that are in two parts of one recipe: no checkpoint is chosen on what is learned from, nor on what is tested."""

from __future__ import annotations

from collections.abc import Mapping

from segshift.data.dataset import DomainDataset
from segshift.data.label_space import LabelSpace
from segshift.data.shared import shared_images
from segshift.errors import RecipeError


def check_validation(validation: DomainDataset, datasets: Mapping[str, DomainDataset], tests: Mapping[str, DomainDataset], space: LabelSpace) -> None:
    """The validation split: labelled, of the model's classes, and none of its images, nor a copy of one, is learned from or tested on."""
    if not validation.labelled:
        raise RecipeError(f"data.validation: {validation.domain} has no labels, so no checkpoint can be chosen on it")
    if validation.label_space.classes != space.classes:
        raise RecipeError(f"data.validation: {validation.domain} has other classes than the data that the run learns from")
    for dataset in datasets.values():
        if shared := shared_images(validation, dataset):
            raise RecipeError(f"data.validation shares {count(shared)} with the training data ({first(shared)}): name images that it does not learn from")
    for label, test in tests.items():
        if shared := shared_images(validation, test):
            raise RecipeError(
                f"data.tests.{label} shares {count(shared)} with data.validation ({first(shared)}), where the checkpoint is chosen: "
                "test on others, or leave the validation out, and the last checkpoint is tested"
            )


def count(shared: Mapping[str, str]) -> str:
    return f"{len(shared)} image{'s' * (len(shared) != 1)}"


def first(shared: Mapping[str, str]) -> str:
    """The first shared image, with its name in the other domain where it has another one."""
    name, there = next(iter(shared.items()))
    return name if name == there else f"{name}, a copy of {there}"
