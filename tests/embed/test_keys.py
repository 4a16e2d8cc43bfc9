"""What makes two models the same."""

import copy
import hashlib
import subprocess
import sys
import weakref
from types import SimpleNamespace

import huggingface_hub
import numpy as np
import pytest
import torch
from torch import fx, nn

from skchallenge.embed import EmbeddingStore
from skchallenge.embed import _keys as module
from skchallenge.embed._keys import (
    network_digest,
    pretrained_fingerprint,
    weights_fingerprint,
)
from skchallenge.embed._store import open_store


class Net(nn.Module):
    """A network with everything that its digest knows."""

    def __init__(self):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.layer = nn.Linear(3, 2)
        self.pool = nn.AdaptiveAvgPool2d(2)
        self.register_buffer("shift", torch.zeros(2), persistent=False)
        self.scale = 1.0
        self.table = torch.zeros(3)
        self.array = np.zeros(3)
        self.names = ["b", "a"]
        self.unknown = object()
        self.reference = weakref.ref(Net)

    power = 1

    @property
    def half(self):
        return 0.5

    @staticmethod
    def alone(x):
        return x

    def helper(self, x):
        return x

    def forward(self, x):
        return self.helper(self.layer(x))


class SameNameOtherCode(Net):
    def forward(self, x):
        return 2 * self.helper(self.layer(x))


def changed_class(**attributes):
    """Return a net whose class has the name and the code of `Net`, but for these."""
    kept = {n: v for n, v in vars(Net).items() if n not in ("__dict__", "__weakref__")}
    net = Net()
    net.__class__ = type("Net", (nn.Module,), kept | attributes)
    return net


class OtherHelper(Net):
    def helper(self, x, *, power=1):
        return x**2


def changed(**attributes):
    net = Net()
    for name, value in attributes.items():
        setattr(net, name, value)
    return net


def one_bit():
    net = Net()
    with torch.no_grad():
        net.layer.weight.view(torch.int32)[0, 0] ^= 1
    return net


def hooked(method):
    net = Net()
    getattr(net, method)(lambda *args: None)
    return net


def shifted():
    net = Net()
    net.shift += 1
    return net


def at_a_prompt(factor):
    """Return a net of a class whose source nobody has."""
    code = f"class Net(Base):\n    def forward(self, x):\n        return {factor} * x\n"
    space = {"Base": Net, "__name__": __name__}
    exec(compile(code, "<stdin>", "exec"), space)
    return space["Net"]()


OTHERS = {
    "one bit of a weight": one_bit,
    "a fixed buffer": shifted,
    "a type": lambda: Net().double(),
    "a number": lambda: changed(scale=2.0),
    "a tensor": lambda: changed(table=torch.ones(3)),
    "an array": lambda: changed(array=np.ones(3)),
    "a list": lambda: changed(names=["a", "b"]),
    "a child": lambda: changed(pool=nn.AdaptiveAvgPool2d(3)),
    "a kind of child": lambda: changed(pool=nn.AdaptiveMaxPool2d(2)),
    "forward": SameNameOtherCode,
    "a helper": OtherHelper,
    "a hook": lambda: hooked("register_forward_hook"),
    "a class attribute": lambda: changed_class(power=2),
    "a property": lambda: changed_class(half=property(lambda self: 0.25)),
    "a static method": lambda: changed_class(alone=staticmethod(lambda x: -x)),
    "code without a source": lambda: at_a_prompt(2),
    "other code without a source": lambda: at_a_prompt(3),
    "order": lambda: nn.Sequential(nn.Flatten(), nn.ReLU()),
    "other order": lambda: nn.Sequential(nn.ReLU(), nn.Flatten()),
    "traced": lambda: fx.symbolic_trace(nn.Sequential(nn.ReLU())),
}


def test_every_difference_counts():
    digests = {name: network_digest(make()) for name, make in OTHERS.items()}
    digests["nothing"] = network_digest(Net())
    assert len(set(digests.values())) == len(OTHERS) + 1, digests


def test_traced_networks_are_told_apart_by_their_code():
    class Scaled(nn.Module):
        def __init__(self, power):
            super().__init__()
            self.power = power

        def forward(self, x):
            return x**self.power

    one, two = (fx.symbolic_trace(Scaled(power)) for power in (1, 2))
    assert network_digest(one) != network_digest(two)


def test_the_same_network_has_the_same_digest():
    digest = network_digest(Net())
    assert network_digest(Net()) == digest
    assert network_digest(copy.deepcopy(Net()).train()) == digest
    assert network_digest(Net().to(memory_format=torch.channels_last)) == digest
    assert network_digest(changed_class()) == digest


def test_it_is_the_same_in_every_process():
    code = (
        "from torch import nn\n"
        "from skchallenge.embed._keys import network_digest\n"
        "class Net(nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.names = ['a', 'b', 'c', 'd']\n"
        "        self.pool = nn.AdaptiveAvgPool2d(2)\n"
        "    def forward(self, x):\n"
        "        return x if x in {'e', 'f', 'g'} else self.pool(x)\n"
        "print(network_digest(Net()))\n"
    )
    digests = []
    for hash_seed in ("0", "17"):
        environment = {"PYTHONHASHSEED": hash_seed, "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-c", code]
        found = subprocess.run(command, capture_output=True, env=environment, text=True)
        assert found.returncode == 0, found.stderr
        digests.append(found.stdout)
    assert digests[0] == digests[1]


@pytest.fixture
def session(tmp_path):
    with open_store(EmbeddingStore(tmp_path / "a.db")) as session:
        yield session


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A folder in the place of torchvision's cache."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    (tmp_path / "checkpoints").mkdir()
    return tmp_path / "checkpoints"


def test_torchvisions_weights_are_known_by_their_address(session, hub):
    found = weights_fingerprint(session, "resnet50", "DEFAULT")
    assert found == "resnet50-11ad3fa6.pth"
    assert weights_fingerprint(session, "resnet50", "IMAGENET1K_V1") != found
    assert weights_fingerprint(session, "resnet50", None) is None


def test_a_genuine_file_is_known_by_its_address(session, hub, monkeypatch):
    start = hashlib.sha256(b"weights").hexdigest()[:8]
    member = SimpleNamespace(url=f"https://a.org/net-{start}.pth")
    monkeypatch.setattr(module, "weights_member", lambda *args: member)
    absent = weights_fingerprint(session, "resnet50", "DEFAULT")
    (hub / f"net-{start}.pth").write_bytes(b"weights")
    assert weights_fingerprint(session, "resnet50", "DEFAULT") == absent


def test_a_file_put_into_the_cache_is_known_by_its_content(session, hub):
    (hub / "resnet50-11ad3fa6.pth").write_bytes(b"my own")
    found = weights_fingerprint(session, "resnet50", "DEFAULT")
    assert found == hashlib.sha256(b"my own").hexdigest()


def test_a_path_is_known_by_its_content(session, tmp_path):
    (tmp_path / "resnet50-11ad3fa6.pth").write_bytes(b"my own")
    found = weights_fingerprint(session, "resnet50", tmp_path / "resnet50-11ad3fa6.pth")
    assert found == hashlib.sha256(b"my own").hexdigest()
    assert weights_fingerprint(session, "resnet50", tmp_path / "no.pt") is None


def test_a_text_model_of_the_hub_is_found_in_its_cache(
    session, tiny_bert, tmp_path, monkeypatch
):
    expected = pretrained_fingerprint(session, tiny_bert)
    assert any(part.startswith("tokenizer.json ") for part in expected)
    assert any(part.startswith("model.safetensors ") for part in expected)

    def look_up(name, file):
        return f"{tiny_bert}/{file}" if name == "org/tiny" else None

    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", look_up)
    assert pretrained_fingerprint(session, "org/tiny") == expected
    assert pretrained_fingerprint(session, "org/other") is None


def test_a_text_model_without_weights_has_no_identity_yet(session, tmp_path):
    (tmp_path / "config.json").write_text("{}")
    assert pretrained_fingerprint(session, tmp_path) is None
