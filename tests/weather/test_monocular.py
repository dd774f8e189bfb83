from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch

from segshift.errors import DataError, MissingDataError, ModelError, WeightsError
from segshift.weather.monocular import NEAREST, hash_weights, load_depth_network


def test_without_transformers_the_extra_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ModelError, match=r"pip install 'segshift\[depth\]'"):
        load_depth_network(tmp_path)


def test_identity_depends_on_names_shapes_and_values_only():
    state = {"a": torch.arange(4.0), "b": torch.ones(2)}
    assert hash_weights(state) == hash_weights(dict(reversed(state.items())))
    assert hash_weights(state) == hash_weights({**state, "b": torch.ones(4)[::2]})  # the same values, laid out otherwise
    changed = [{**state, "a": torch.arange(4.0).reshape(2, 2)}, {"a": state["a"], "c": state["b"]}, {**state, "b": torch.tensor([1.0, 1.0 + 1e-6])}]
    assert len({hash_weights(other) for other in [state, *changed]}) == 4
    assert len(hash_weights(state)) == 64


def save_tiny(folder: Path, kind: str = "metric", seed: int = 0) -> Path:
    """A randomly drawn Depth Anything of 4 narrow blocks, with its image processor."""
    transformers = pytest.importorskip("transformers")
    transformers.utils.logging.disable_progress_bar()
    torch.manual_seed(seed)
    backbone = transformers.Dinov2Config(
        hidden_size=16, num_hidden_layers=4, num_attention_heads=2, image_size=56, patch_size=14, out_indices=[1, 2, 3, 4], reshape_hidden_states=False
    )
    config = transformers.DepthAnythingConfig(
        backbone_config=backbone,
        reassemble_hidden_size=16,
        neck_hidden_sizes=[8, 8, 8, 8],
        fusion_hidden_size=8,
        head_hidden_size=8,
        depth_estimation_type=kind,
        max_depth=80,
        initializer_range=1.0,  # so that the depth is not the same everywhere
    )
    transformers.DepthAnythingForDepthEstimation(config).save_pretrained(folder)
    transformers.DPTImageProcessor(size={"height": 56, "width": 56}, keep_aspect_ratio=True, ensure_multiple_of=14).save_pretrained(folder)
    return folder


def save_zoedepth(folder: Path) -> None:
    import transformers

    backbone = transformers.BeitConfig(
        hidden_size=16,
        num_hidden_layers=4,
        num_attention_heads=2,
        intermediate_size=32,
        image_size=64,
        out_features=[f"stage{i}" for i in (1, 2, 3, 4)],
        reshape_hidden_states=False,
        use_relative_position_bias=True,
    )
    config = transformers.ZoeDepthConfig(
        backbone_config=backbone,
        neck_hidden_sizes=[8, 8, 8, 8],
        fusion_hidden_size=8,
        bottleneck_features=8,
        num_relative_features=8,
        bin_embedding_dim=8,
        num_attractors=[4, 4, 2, 1],
        bin_configurations=[{"n_bins": 8, "min_depth": 0.001, "max_depth": 80.0, "name": "kitti"}],
    )
    transformers.ZoeDepthForDepthEstimation(config).save_pretrained(folder)
    transformers.ZoeDepthImageProcessor(size={"height": 64, "width": 64}, keep_aspect_ratio=True, ensure_multiple_of=32).save_pretrained(folder)


def save_depth_pro(folder: Path) -> None:
    import transformers

    encoder = {"model_type": "dinov2", "hidden_size": 16, "num_hidden_layers": 4, "num_attention_heads": 2, "patch_size": 16, "image_size": 64}
    config = transformers.DepthProConfig(
        fusion_hidden_size=8,
        patch_size=64,
        intermediate_hook_ids=[3, 2],
        intermediate_feature_dims=[8, 8],
        scaled_images_feature_dims=[8, 8, 8],
        image_model_config=encoder,
        patch_model_config=encoder,
        fov_model_config=encoder,
        num_fov_head_layers=1,
    )
    transformers.DepthProForDepthEstimation(config).save_pretrained(folder)
    transformers.DepthProImageProcessor(size={"height": 256, "width": 256}).save_pretrained(folder)


@pytest.mark.parametrize(("kind", "save"), [("zoedepth", save_zoedepth), ("depth_pro", save_depth_pro)])
def test_the_other_kinds_of_metric_network_are_read(tmp_path, kind, save):
    pytest.importorskip("transformers")
    torch.manual_seed(0)
    save(tmp_path)
    network = load_depth_network(tmp_path)
    assert network.identity.startswith(f"{kind}:")
    for size in ((50, 90), (61, 47)):
        depth = network(image(*size))
        assert depth.shape == size
        assert float(depth.min()) >= torch.tensor(NEAREST)
        assert bool(torch.isfinite(depth).all())
        assert torch.equal(depth, network(image(*size)))


def image(height: int = 50, width: int = 90) -> torch.Tensor:
    return torch.randint(0, 256, (3, height, width), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def test_depth_is_metres_at_the_images_size(tmp_path):
    network = load_depth_network(save_tiny(tmp_path))
    for size in ((50, 90), (61, 47)):
        depth = network(image(*size))
        assert depth.shape == size
        assert depth.dtype == torch.float32
        assert depth.min() >= NEAREST
        assert depth.max() <= 80 * 1.45  # max_depth, and the most that bicubic weights add up to: 1.1875^2 + 0.1875^2
    assert depth.std() > 1e-3  # it looks at the image
    assert not torch.equal(depth, network(255 - image(61, 47)))
    assert torch.equal(depth, network(image(61, 47)))
    assert not network.model.training
    assert not any(parameter.requires_grad for parameter in network.model.parameters())


def test_depth_is_what_the_network_says_between_processor_and_resizing(tmp_path):
    transformers = pytest.importorskip("transformers")
    network = load_depth_network(str(save_tiny(tmp_path)))
    own = transformers.DepthAnythingForDepthEstimation.from_pretrained(tmp_path).eval()
    # 56 x 84 is a size that the processor leaves alone: ImageNet's normalisation is written out here.
    x = image(56, 84)
    processor = transformers.DPTImageProcessor.from_pretrained(tmp_path)
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (processor.image_mean, processor.image_std))
    with torch.no_grad():
        expected = own((x / 255 - mean)[None] / std).predicted_depth[0]
    torch.testing.assert_close(network(x), expected.clamp_min(NEAREST), rtol=1e-4, atol=1e-4)  # float32, rescaled in another order


def test_identity_is_that_of_the_weights(tmp_path):
    one = load_depth_network(save_tiny(tmp_path / "a")).identity
    assert one == load_depth_network(save_tiny(tmp_path / "b")).identity
    assert one != load_depth_network(save_tiny(tmp_path / "c", seed=1)).identity
    assert one.startswith("depth_anything:")


def test_relative_depth_is_refused(tmp_path):
    with pytest.raises(ModelError, match=r"relative depth\) does not predict metres.*Depth-Anything-V2-Metric-Outdoor"):
        load_depth_network(save_tiny(tmp_path, kind="relative"))


def test_a_network_without_a_declaration_is_refused(tmp_path):
    transformers = pytest.importorskip("transformers")
    save_tiny(tmp_path)
    transformers.GLPNConfig().save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="glpn"):
        load_depth_network(tmp_path)


def test_pickles_are_refused(tmp_path):
    folder = save_tiny(tmp_path)
    torch.save({}, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(MissingDataError, match="pickles are not read"):
        load_depth_network(folder)


def test_broken_folders_name_the_remedy(tmp_path):
    pytest.importorskip("transformers")
    with pytest.raises(MissingDataError, match="no depth network"):
        load_depth_network(tmp_path / "absent")
    folder = save_tiny(tmp_path)
    weights = folder / "model.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[:1000])
    with pytest.raises(WeightsError, match="cannot load the depth network"):
        load_depth_network(folder)
    weights.write_bytes(content)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "head_hidden_size": 12}))
    with pytest.raises(WeightsError, match=str(folder)):
        load_depth_network(folder)
    (folder / "preprocessor_config.json").unlink()
    with pytest.raises(MissingDataError, match=r"preprocessor_config\.json"):
        load_depth_network(folder)


def test_missing_tensors_are_refused(tmp_path):
    pytest.importorskip("transformers")
    from safetensors.torch import load_file, save_file

    file = save_tiny(tmp_path) / "model.safetensors"
    state = load_file(file)
    del state["head.conv3.weight"]
    save_file(state, file, metadata={"format": "pt"})
    with pytest.raises(WeightsError, match=r"1 tensors.*head\.conv3\.weight"):
        load_depth_network(tmp_path)


def test_an_unreachable_hub_is_told_at_once(monkeypatch):
    pytest.importorskip("transformers")
    import huggingface_hub

    def refuse(url: str) -> None:
        raise OSError(f"no route to {url}")

    monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", refuse)
    with pytest.raises(WeightsError, match=r"no route to .*nobody/nothing.*--local-dir FOLDER"):
        load_depth_network("nobody/nothing")


def test_images_that_are_not_uint8_rgb_are_refused(tmp_path):
    network = load_depth_network(save_tiny(tmp_path))
    with pytest.raises((DataError, TypeError)):  # the shape annotations, executed in tests, come first
        network(torch.rand(3, 20, 20))
    with pytest.raises((DataError, TypeError)):
        network(torch.zeros(1, 20, 20, dtype=torch.uint8))
