"""Networks by name or by function, their weights and their width."""

import warnings
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn

from skchallenge.embed._backbone import (
    FrameEncoder,
    build_backbone,
    cast_network,
    check_backbone,
    named_width,
    probe_width,
)
from skchallenge.embed._networks import resolve_precision


def images(n=2, size=64):
    return torch.rand(n, 3, size, size, generator=torch.Generator().manual_seed(1))


WIDTHS = {  # of the layer before the class scores, from the papers
    "alexnet": 4096,
    "convnext_tiny": 768,
    "densenet121": 1024,
    "efficientnet_b0": 1280,
    "googlenet": 1024,
    "inception_v3": 2048,
    "maxvit_t": 512,
    "mnasnet0_5": 1280,
    "mobilenet_v2": 1280,
    "mobilenet_v3_small": 1024,
    "regnet_y_400mf": 440,
    "resnet18": 512,
    "resnet50": 2048,
    "shufflenet_v2_x0_5": 1024,
    "squeezenet1_1": 512,
    "swin_t": 768,
    "vgg16": 4096,
    "vit_b_16": 768,
}


@pytest.mark.parametrize("name", WIDTHS)
def test_width_of_torchvision_names_without_weights(name):
    assert named_width(name, "DEFAULT", 224) == WIDTHS[name]


def test_random_weights_do_not_depend_on_the_callers_default_type():
    pictures = images()
    expected = build_backbone("squeezenet1_1", None, 64)(pictures)
    torch.set_default_dtype(torch.float64)
    try:
        found = build_backbone("squeezenet1_1", None, 64)(pictures)
        width = named_width("regnet_y_400mf", None, 64)  # it is built on the CPU
    finally:
        torch.set_default_dtype(torch.float32)
    assert width == 440
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("name", ["squeezenet1_1", "mobilenet_v3_small"])
def test_built_networks_have_the_announced_width(name):
    net = build_backbone(name, None, 64)
    assert net(images()).shape == (2, named_width(name, None, 64))
    assert not net.training
    assert not any(p.requires_grad for p in net.parameters())


@pytest.mark.parametrize("ending", ["pt", "pth", "safetensors"])
def test_resnet_gives_its_pooled_layer(tmp_path, ending):
    reference = torchvision.models.resnet18(weights=None).eval()
    path = tmp_path / f"weights.{ending}"
    save = save_file if ending == "safetensors" else torch.save
    save(reference.state_dict(), path)
    net = build_backbone("resnet18", str(path), 64)
    seen = []
    reference.avgpool.register_forward_hook(lambda m, x, out: seen.append(out))
    reference(images())
    torch.testing.assert_close(net(images()), seen[0].flatten(1))


def test_vgg_ends_before_the_last_layer_of_its_classifier():
    with torch.device("meta"):
        net = build_backbone("vgg16", None, 224)
    layers = [type(layer).__name__ for layer in net.classifier]
    hidden = ["Linear", "ReLU", "Dropout"]
    assert layers == hidden + hidden + ["Identity"]


def test_no_weights_means_the_same_random_ones_each_time():
    state = torch.get_rng_state()
    one = build_backbone("squeezenet1_1", None, 64)(images())
    two = build_backbone("squeezenet1_1", None, 64)(images())
    assert torch.equal(one, two)
    assert torch.equal(torch.get_rng_state(), state)


def test_weights_by_name_come_from_the_cache_of_torchvision(monkeypatch):
    saved = torchvision.models.squeezenet1_1(weights=None).state_dict()
    monkeypatch.setattr(
        "torchvision.models._api.load_state_dict_from_url", lambda *a, **k: saved
    )
    net = build_backbone("squeezenet1_1", "IMAGENET1K_V1", 64)
    torch.testing.assert_close(
        net.state_dict()["features.0.weight"], saved["features.0.weight"]
    )


def test_failed_download_names_the_remedy(monkeypatch):
    def fail(*args, **kwargs):
        raise URLError("no route to host")

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", fail)
    message = "no route to host.*Pass weights=<path to a state dict>, or put https"
    with pytest.raises(OSError, match=message):
        build_backbone("squeezenet1_1", "DEFAULT", 64)


@pytest.mark.parametrize("ending", ["pt", "safetensors"])
def test_weights_that_do_not_fit(tmp_path, ending):
    path = tmp_path / f"weights.{ending}"
    state = {"wrong": torch.zeros(2)}
    torch.save(state, path) if ending == "pt" else save_file(state, path)
    with pytest.raises(ValueError, match="no state dict that fits the backbone"):
        build_backbone("squeezenet1_1", path, 64)


def test_weights_that_do_not_exist(tmp_path):
    with pytest.raises(ValueError, match=r"missing.pth' is no state dict.*No such"):
        build_backbone("squeezenet1_1", tmp_path / "missing.pth", 64)


def test_weights_file_runs_no_code(tmp_path):
    path = tmp_path / "weights.pt"
    torch.save({"code": Path("x")}, path)
    with pytest.raises(ValueError, match="Weights only load failed"):
        build_backbone("squeezenet1_1", path, 64)


def pooled():
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 5))


def test_function_with_a_path_loads_it(tmp_path):
    saved = pooled()
    torch.save(saved.state_dict(), tmp_path / "weights.pt")
    net = build_backbone(pooled, tmp_path / "weights.pt", 64)
    torch.testing.assert_close(net(images()), saved(images()))


def test_function_is_seeded_and_its_own_module_left_alone():
    own = pooled()
    net = build_backbone(lambda: own, "DEFAULT", 64)
    cast_network(net, torch.bfloat16)
    assert own.training
    assert own[2].weight.dtype == torch.float32
    weights = [build_backbone(pooled, "DEFAULT", 64)[2].weight for _ in range(2)]
    assert torch.equal(*weights)


def test_function_that_returns_no_module():
    with pytest.raises(TypeError, match=r"must return an nn\.Module, got int from"):
        build_backbone(lambda: 3, "DEFAULT", 64)


def test_torchscript_is_refused():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        scripted = torch.jit.script(nn.Flatten())
    with pytest.raises(TypeError, match="must return a module of Python, got TorchScr"):
        build_backbone(lambda: scripted, "DEFAULT", 64)


@pytest.mark.parametrize(
    "backbone, weights, error, message",
    [
        (
            nn.Identity(),
            "DEFAULT",
            TypeError,
            "got an instance of Identity. Pass a fun",
        ),
        (
            3,
            "DEFAULT",
            TypeError,
            "backbone must be a torchvision name, the name or folder",
        ),
        (
            "resnet51",
            "DEFAULT",
            ValueError,
            "got 'resnet51'. Names of torchvision include resnet50",
        ),
        (
            "zzz",
            "DEFAULT",
            ValueError,
            "got 'zzz'. Names of torchvision include alexnet",
        ),
        ("raft_large", "DEFAULT", ValueError, "torchvision classification model"),
        ("resnet18", "V9", ValueError, r"one of \['IMAGENET1K_V1', 'DEFAULT'\]"),
        ("resnet18", 3, TypeError, "weights must be a torchvision weights name, None"),
        (pooled, None, ValueError, "when backbone is a function, got None"),
        (pooled, "IMAGENET1K_V1", ValueError, "when backbone is a function"),
    ],
)
def test_wrong_backbones(backbone, weights, error, message):
    with pytest.raises(error, match=message):
        check_backbone(backbone, weights)


@pytest.mark.parametrize(
    "name, weights, image_size, message",
    [
        ("inception_v3", None, 32, "failed on a black image of shape .1, 3, 32, 32."),
        ("vit_b_16", "DEFAULT", 384, "image_size must be 224 for backbone='vit_b_16'"),
        ("vit_b_16", "IMAGENET1K_SWAG_E2E_V1", 224, "image_size must be 384"),
        ("maxvit_t", None, 100, "backbone='maxvit_t' cannot be built for image_size"),
    ],
)
def test_image_sizes_that_do_not_fit(name, weights, image_size, message):
    with pytest.raises(ValueError, match=message):
        named_width(name, weights, image_size)


@pytest.mark.parametrize(
    "net, message",
    [
        (nn.Identity(), r"must map images .* got \(1, 3, 8, 8\) for one image"),
        (nn.Flatten(0), r"got \(192,\) for one image"),
        (nn.LSTM(8, 2), "failed on a black image"),
        (nn.AdaptiveMaxPool2d(1, return_indices=True), "got tuple for one image"),
    ],
)
def test_outputs_that_are_no_features(net, message):
    with pytest.raises(ValueError, match=message):
        probe_width(net, torch.zeros(1, 3, 8, 8), "net")


def test_encoder_normalises_as_imagenet_does():
    frames = torch.arange(2 * 4 * 4 * 3).reshape(2, 4, 4, 3).to(torch.uint8)
    encoder = FrameEncoder(nn.Flatten(), torch.float32)
    normalise = torchvision.transforms.Normalize(
        (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    )
    expected = normalise(frames.permute(0, 3, 1, 2).float() / 255).flatten(1)
    torch.testing.assert_close(encoder(frames), expected)


def test_bfloat16_keeps_batch_normalisation_in_float32():
    net = build_backbone("resnet18", None, 64)
    assert cast_network(net, torch.bfloat16) == torch.bfloat16
    dtypes = {
        type(layer): layer.weight.dtype
        for layer in net.modules()
        if isinstance(layer, nn.Conv2d | nn.BatchNorm2d)
    }
    assert dtypes == {nn.Conv2d: torch.bfloat16, nn.BatchNorm2d: torch.float32}
    assert net(images().to(torch.bfloat16)).dtype == torch.bfloat16


@pytest.mark.parametrize("name", ["mobilenet_v2", "convnext_tiny"])
def test_bfloat16_is_for_dense_layers_only_where_some_are_depthwise(name):
    net = build_backbone(name, None, 64)
    assert cast_network(net, torch.bfloat16) == torch.float32
    found = {
        (type(layer), getattr(layer, "groups", 1) > 1, parameter.dtype)
        for layer in net.modules()
        for parameter in layer.parameters(recurse=False)
    }
    expected = {(nn.Conv2d, False): torch.bfloat16, (nn.Linear, False): torch.bfloat16}
    assert {dtype for *_, dtype in found} == {torch.bfloat16, torch.float32}
    for kind, grouped, dtype in found:
        assert dtype == expected.get((kind, grouped), torch.float32)
    outputs = []
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.register_forward_hook(lambda *args: outputs.append(args[-1].dtype))
    net(images())
    assert outputs
    assert set(outputs) == {torch.float32}


def test_bfloat16_leaves_attention_beside_depthwise_layers_alone():
    """Attention multiplies by the weight of its last layer without calling it."""

    class Attentive(nn.Module):
        def __init__(self):
            super().__init__()
            self.depthwise = nn.Conv2d(4, 4, 3, groups=4)
            self.attention = nn.MultiheadAttention(4, 2, batch_first=True)

        def forward(self, x):
            tokens = self.depthwise(x).flatten(2).mT
            return self.attention(tokens, tokens, tokens)[0].mean(1)

    net = Attentive().eval()
    x = torch.rand(2, 4, 8, 8)
    expected = net(x)
    assert cast_network(net, torch.bfloat16) == torch.float32
    torch.testing.assert_close(net(x), expected)


def test_bfloat16_reaches_buffers_but_not_whole_numbers():
    net = nn.Module()
    net.register_buffer("scale", torch.ones(2))
    net.register_buffer("steps", torch.ones(2, dtype=torch.int64))
    cast_network(net, torch.bfloat16)
    assert net.scale.dtype == torch.bfloat16
    assert net.steps.dtype == torch.int64


def test_bfloat16_is_close_to_float32():
    frames = torch.randint(0, 255, (4, 64, 64, 3), dtype=torch.uint8)
    rows = [
        FrameEncoder(build_backbone("resnet18", None, 64), dtype)(frames).numpy()
        for dtype in (torch.float32, torch.bfloat16)
    ]
    assert rows[1].dtype == np.float32
    norms = [np.linalg.norm(row, axis=1) for row in rows]
    cosines = (rows[0] * rows[1]).sum(axis=1) / (norms[0] * norms[1])
    assert cosines.min() > 0.999
    assert not np.array_equal(*rows)


@pytest.mark.parametrize("native", [True, False])
def test_auto_precision_follows_the_hardware(monkeypatch, native):
    cpu = torch.device("cpu")
    found = {"avx512_bf16": native}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: found, raising=False)
    expected = torch.bfloat16 if native else torch.float32
    assert resolve_precision("auto", cpu) == expected
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **k: native)
    assert resolve_precision("auto", torch.device("cuda")) == expected
    assert resolve_precision("auto", torch.device("meta")) == torch.float32
    assert resolve_precision("float32", cpu) == torch.float32
    assert resolve_precision("bfloat16", cpu) == torch.bfloat16
