from __future__ import annotations

import pytest
import torch
import torchvision
from torch import nn

from segshift.errors import ModelError
from segshift.models import Outputs, create_model


def test_images_are_normalised_with_what_the_encoder_was_trained_with() -> None:
    lite = create_model("unet", "tf_efficientnet_lite0")
    mit = create_model("segformer", "mit_b0")
    assert lite.mean.flatten().tolist() == [0.5, 0.5, 0.5]
    assert lite.std.flatten().tolist() == [0.5, 0.5, 0.5]
    torch.testing.assert_close(mit.mean.flatten(), torch.tensor([0.485, 0.456, 0.406]))
    assert not {"mean", "std"} & set(mit.state_dict())


def test_equals_the_network_on_normalised_images_of_a_fitting_size() -> None:
    model = create_model("unet", "resnet18", classes=3, seed=0).eval()
    images = torch.rand(1, 3, 64, 96)
    normalise = torchvision.transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    with torch.no_grad():
        # One subtraction and one division in another order of operations.
        torch.testing.assert_close(model(images), model.network(normalise(images)), rtol=1e-4, atol=1e-5)


def test_padding_repeats_the_border() -> None:
    model = create_model("unet", "resnet18", classes=3, seed=0).eval()
    images = torch.rand(1, 3, 33, 31)
    padded = nn.functional.pad(images, (0, 1, 0, 31), mode="replicate")
    with torch.no_grad():
        assert torch.equal(model(images), model(padded)[..., :33, :31])


@pytest.mark.parametrize("size", [(1, 1), (7, 3), (31, 33)])
@pytest.mark.parametrize("name", ["deeplabv3plus", "pspnet", "segformer"])
def test_tiny_images(name: str, size: tuple[int, int]) -> None:
    model = create_model(name, "mobilenetv2_050", classes=2, seed=0).eval()
    with torch.no_grad():
        assert model(torch.rand(1, 3, *size)).shape == (1, 2, *size)


def test_torchvision_networks_equal_their_own_forward() -> None:
    images = torch.rand(1, 3, 64, 96)
    for name in ("fcn_resnet50", "lraspp_mobilenet_v3_large"):
        model = create_model(name, classes=3, seed=0).eval()
        with torch.no_grad():
            expected = model.network((images - model.mean) / model.std)["out"]
            assert torch.equal(model(images), expected)


def test_auxiliary_logits_come_in_training_only_and_weigh_four_tenths() -> None:
    model = create_model("fcn_resnet50", classes=3, seed=0, aux_loss=True)
    images, labels = torch.rand(2, 3, 32, 40), torch.zeros(2, 32, 40, dtype=torch.long)
    outputs = model.train().outputs(images)
    assert [each.shape for each in outputs.auxiliary] == [(2, 3, 32, 40)]
    main, auxiliary = (nn.functional.cross_entropy(each, labels) for each in (outputs.logits, *outputs.auxiliary))
    torch.testing.assert_close(model.loss(outputs, labels, nn.functional.cross_entropy), main + 0.4 * auxiliary)
    assert "network.aux_classifier" in model.parts().decoder
    with torch.no_grad():
        assert model.eval().outputs(images).auxiliary == ()


def test_loss_without_auxiliary_is_the_criterion() -> None:
    model = create_model("unet", "resnet18", classes=3)
    outputs = Outputs(torch.rand(1, 3, 4, 4), (), ())
    labels = torch.zeros(1, 4, 4, dtype=torch.long)
    assert model.loss(outputs, labels, lambda logits, _: logits.mean()) == outputs.logits.mean()


def test_batch_of_one_names_the_layer_and_the_remedy() -> None:
    model = create_model("deeplabv3plus", "mobilenetv2_050", classes=3).train()
    with pytest.raises(
        ModelError, match=r"batch of 1 image of 97 x 65: network\.decoder\.aspp\.0\.convs\.4\.2 .* batch size of 2 or more, or keep its"
    ) as caught:
        model(torch.rand(1, 3, 65, 97))
    assert "\n" not in str(caught.value)
    model.get_submodule("network.decoder.aspp.0.convs.4.2").eval()
    assert model(torch.rand(1, 3, 65, 97)).isfinite().all()


def test_another_value_error_is_not_hidden() -> None:
    model = create_model("unet", "resnet18", classes=3)

    def fail(*_: object) -> None:
        raise ValueError("something else")

    model.encoder.register_forward_pre_hook(fail)
    with pytest.raises(ValueError, match=r"^something else$"):
        model(torch.rand(1, 3, 32, 32))
