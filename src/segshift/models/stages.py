"""The stages of an encoder, from the image on: what gradual unfreezing opens one after the other."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from segshift.errors import ModelError
from segshift.models.convolutions import FIRST_STAGES, encoder_body

if TYPE_CHECKING:
    from segshift.models.anatomy import SegmentationModel


def encoder_stages(model: SegmentationModel) -> tuple[tuple[str, ...], ...]:
    """Modules of each stage, named from the model; the stem belongs to the first, what follows the last stage to the last. Together they are the encoder.

    Raises ModelError for an encoder whose stages are not known.
    """
    body, inner = encoder_body(model.encoder)
    modules = {name for name, _ in body.named_modules()}
    known = next((stage for _, stage in FIRST_STAGES if stage in modules), None)
    if known is None:
        raise ModelError(f"the stages of encoder {model.encoder_name} are not known: use the tuning 'lp-ft' or 'all' instead of 'gradual'")
    container, _, first = known.rpartition(".")
    children: list[str] = []  # the stages of some encoders are the children of one module
    for name, child in body.named_children():
        children += [f"{name}.{own}" for own, _ in child.named_children()] if name == container else [name]
    family, start = (f"{container}." if container else "") + first.rstrip("0123456789"), int(first[len(first.rstrip("0123456789")) :])
    # MiT numbers what belongs to a stage as the stage itself.
    number = re.compile(rf"(?:{re.escape(family)}|patch_embed|norm)(\d+)")
    stages: dict[int, list[str]] = {}
    waiting: list[str] = []  # the stem
    for name in children:
        if not any(True for _ in body.get_submodule(name).parameters()):
            continue
        found = number.fullmatch(name)
        if found is not None and int(found[1]) >= start:
            stages.setdefault(int(found[1]), waiting).append(name)
            waiting = []
        else:
            (stages[max(stages)] if stages else waiting).append(name)
    prefix = f"network.{model.anatomy.encoder}.{inner}"
    return tuple(tuple(prefix + name for name in stage) for _, stage in sorted(stages.items()))
