"""Metric depth of an image by a monocular depth network of transformers (the extra `depth`).

Only networks that predict metres are taken: Depth Anything V2 Metric (Yang et al., NeurIPS 2024), ZoeDepth (Bhat et al., 2023) and
Depth Pro (Bochkovskii et al., ICLR 2025). A relative network gives an unknown scale and shift, which no fog can be made of.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from segshift.errors import DataError, MissingDataError, ModelError, WeightsError

if TYPE_CHECKING:
    from collections.abc import Mapping

METRIC = ("depth_pro", "zoedepth")
"""Kinds of network whose depth is always in metres; the others say in their configuration what it is."""
FILES = ("config.json", "preprocessor_config.json")
EXAMPLE = "depth-anything/Depth-Anything-V2-Metric-Outdoor-Small-hf"
NEAREST = 0.01
"""Metres: least depth that is returned, as 0 marks an unknown one."""


@final
@dataclass(frozen=True)
class DepthNetwork:
    """A network that gives the depth of an image in metres; made by `load_depth_network`.

    `identity` is the kind, the SHA-256 over the names and values of the weights, and that of the settings of network and processor: what a depth depends on.
    """

    name: str
    identity: str
    model: nn.Module
    processor: Any

    def __call__(self, image: UInt8[Tensor, "3 h w"]) -> Float[Tensor, "h w"]:
        """Depth in metres of a uint8 RGB image, at its size, on its device, at least NEAREST; the same bits each time on a CPU."""
        if image.dtype != torch.uint8 or image.ndim != 3 or image.shape[0] != 3:
            raise DataError(f"image of {image.dtype} and shape {tuple(image.shape)}: a depth network takes uint8 (3, H, W)")
        device = next(self.model.parameters()).device
        inputs = self.processor(images=image.cpu(), return_tensors="pt", input_data_format="channels_first")
        sizes = [tuple(image.shape[1:])]
        with torch.no_grad():
            outputs = self.model(**inputs.to(device))
        padded = {"source_sizes": sizes} if self.identity.startswith("zoedepth:") else {}  # its processor takes its padding off again
        depth: Tensor = self.processor.post_process_depth_estimation(outputs, target_sizes=sizes, **padded)[0]["predicted_depth"]
        depth = depth.reshape(sizes[0]).to(device=image.device, dtype=torch.float32)
        if not bool(torch.isfinite(depth).all()):
            raise ModelError(f"{self.name} gave depths that are not finite: its weights or its configuration are broken, use another checkpoint")
        return depth.clamp_min_(NEAREST)  # resizing may overshoot below


def load_depth_network(name_or_folder: str | Path, device: torch.device | str = "cpu") -> DepthNetwork:
    """A metric depth network by its name on the Hugging Face hub, or from a folder (config.json, preprocessor_config.json, model.safetensors).

    Raises ModelError without transformers or for a network that is not metric, MissingDataError for a folder that is not there or
    lacks a file, WeightsError where the hub cannot be reached or the weights do not fill the network. No code from a checkpoint is run, no pickle read.
    """
    try:
        from transformers import AutoConfig, AutoImageProcessor, AutoModelForDepthEstimation
    except ImportError as error:
        raise ModelError(f"a depth network needs transformers ({str(error).splitlines()[0]}): pip install 'segshift[depth]'") from error
    name = str(name_or_folder)
    folder = check_folder(name)
    name = str(Path(name).expanduser()) if folder else name
    try:
        local = folder or is_cached(name)
        config = AutoConfig.from_pretrained(name, local_files_only=local)
        check_metric(name, config)
        processor = AutoImageProcessor.from_pretrained(name, local_files_only=local)
        model, report = AutoModelForDepthEstimation.from_pretrained(
            name, config=config, local_files_only=local, use_safetensors=True, dtype=torch.float32, output_loading_info=True
        )
    except ModelError:
        raise
    except Exception as error:  # transformers raises its own, the hub client's, safetensors' and the system's errors
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:160].rstrip(". ")
        remedy = (
            "give a folder that save_pretrained wrote, with weights as safetensors"
            if folder
            else "go online, or download the repository elsewhere (hf download NAME --local-dir FOLDER) and give the folder"
        )
        raise WeightsError(f"cannot load the depth network {name} ({reason}): {remedy}") from error
    check_report(name, report)
    model.requires_grad_(False).eval()
    settings = hashlib.sha256(f"{config.to_json_string()}{processor.to_json_string()}".encode()).hexdigest()[:16]
    return DepthNetwork(name, f"{config.model_type}:{hash_weights(model.state_dict())}:{settings}", model.to(device), processor)


def check_folder(name: str) -> bool:
    """Whether the name is a local folder, with the files that are needed; a name of the hub is `owner/network`."""
    folder = Path(name).expanduser()
    if folder.is_dir():
        for file in FILES:
            if not (folder / file).is_file():
                raise MissingDataError(f"{folder} has no {file}: give a folder that save_pretrained wrote for both the network and its image processor")
        if not any(folder.glob("*.safetensors")):
            raise MissingDataError(f"{folder} has no .safetensors file: pickles are not read, download the safetensors of the network")
        return True
    if folder.is_absolute() or name.startswith((".", "~")) or name.count("/") != 1:
        raise MissingDataError(f"no depth network at {name}: give its folder, or its name on the hub such as {EXAMPLE}")
    return False


def is_cached(name: str) -> bool:
    """Whether the hub's client has the network already; otherwise the hub must answer, asked once, as transformers would ask for half a minute."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_url, try_to_load_from_cache

    if all(isinstance(try_to_load_from_cache(name, file), str) for file in (*FILES, "model.safetensors")):
        return True
    get_hf_file_metadata(hf_hub_url(name, FILES[0]))
    return False


def check_metric(name: str, config: Any) -> None:
    """ModelError for a network whose depth is not in metres."""
    kind = getattr(config, "depth_estimation_type", None)
    if config.model_type not in METRIC and kind != "metric":
        raise ModelError(
            f"{name} ({config.model_type}, {kind or 'relative'} depth) does not predict metres: "
            f"use a metric network such as {EXAMPLE}, Intel/zoedepth-kitti or apple/DepthPro-hf"
        )


def check_report(name: str, report: Mapping[str, Any]) -> None:
    """WeightsError where the file left parts of the network as they were drawn."""
    lost = sorted(map(str, report.get("missing_keys", ()))) + sorted(map(str, report.get("mismatched_keys", ())))
    if lost:
        raise WeightsError(f"{name} has no fitting weights for {len(lost)} tensors of its network (first: {lost[0]}): download it again")


def hash_weights(state: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, shapes and values in the order of the names; the same on every device.

    >>> hash_weights({"a": torch.zeros(2)}) == hash_weights({"a": torch.zeros(2)}) != hash_weights({"a": torch.ones(2)})
    True
    """
    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
