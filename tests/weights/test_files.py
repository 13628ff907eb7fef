"""Files of weights: every kind that is read, and one line for each that is not."""

import os
import pickle
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from safetensors.torch import save_file
from torch import Tensor, nn

from latency_tables.blocks import Block
from latency_tables.onnx_models import build_model
from pipeline.spaces.files import load_space
from pipeline.supernets.files import WeightsError
from pipeline.supernets.supernet import Supernet
from pipeline.weights import statefile
from pipeline.weights.reading import read_network
from pipeline.weights.sources import open_weights
from pipeline.weights.start import matching_preset, start_supernet
from pipeline.weights.statefile import read_state
from tests.weights.states import fixed_images, fixed_state, read_shapes

State = dict[str, Tensor]


@pytest.fixture(scope="module")
def state() -> State:
    return fixed_state(read_shapes("timm-mobilenetv3_small_100"))


def _save_onnx(state: State, path: Path) -> None:
    tensors = [numpy_helper.from_array(tensor.numpy(), name) for name, tensor in state.items()]
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", [value], [value], tensors)
    graph.output[0].name = "y"
    onnx.save(helper.make_model(graph), str(path))


WRITERS: dict[str, Callable[[State, Path], Any]] = {
    "net.safetensors": save_file,
    "net.pth": torch.save,
    "legacy.pt": lambda state, path: torch.save(state, path, _use_new_zipfile_serialization=False),
    "checkpoint.pth": lambda state, path: torch.save({"epoch": 3, "state_dict": state}, path),
    "parallel.pth": lambda state, path: torch.save({f"module.{k}": v for k, v in state.items()}, path),
    "without_suffix": torch.save,
    "half.safetensors": lambda state, path: save_file(
        {k: v.half() if v.is_floating_point() else v for k, v in state.items()}, path
    ),
    "net.onnx": _save_onnx,
}


@pytest.mark.parametrize("name", WRITERS)
def test_every_kind_of_file_is_the_same_network(name: str, state: State, tmp_path: Path) -> None:
    WRITERS[name](state, tmp_path / name)
    read = open_weights(str(tmp_path / name))
    assert read.network.naming == "timm" and read.network.params == 2_542_856
    assert len(read.provenance.sha256) == 64 and read.provenance.licence is None
    ours, theirs = read.network.layers[3].tensors["project.weight"], state["blocks.2.0.conv_pwl.weight"]
    assert torch.allclose(ours, theirs, atol=1e-3 if "half" in name else 0)


def _without(state: State, name: str) -> State:
    return {key: value for key, value in state.items() if key != name}


BROKEN: dict[str, tuple[Callable[[State], State], str]] = {
    "a missing tensor": (lambda s: _without(s, "blocks.1.0.bn2.running_var"), "layer 1.0 lacks .*depthwise_norm.runn"),
    "a missing classifier": (lambda s: _without(_without(s, "classifier.weight"), "classifier.bias"), "classifier"),
    "a left-over": (lambda s: s | {"aux.head.weight": torch.ones(2)}, "1 tensor.* no place.*aux.head.weight"),
    "a left-over in a layer": (
        lambda s: s | {"blocks.1.0.conv_dw.bias": torch.ones(72)},
        "conv_dw.bias.* one too many",
    ),
    "a wrong shape": (lambda s: s | {"blocks.1.0.bn2.bias": torch.ones(71)}, r"bn2.bias.*\(71,\); expected is \(72,\)"),
    "channels that do not meet": (
        lambda s: s | {"blocks.1.1.conv_pw.weight": torch.ones(88, 23, 1, 1)},
        r"conv_pw.weight.*\(88, 23, 1, 1\); expected is \(88, 24, 1, 1\)",
    ),
    "no layers": (lambda s: {k: v for k, v in s.items() if not k.startswith("blocks.")}, "no tensor of a layer"),
    "an even kernel": (lambda s: s | {"blocks.1.0.conv_dw.weight": torch.ones(72, 1, 4, 4)}, "kernel of 4"),
    "a scalar": (lambda s: s | {"blocks.1.0.conv_dw.weight": torch.ones(())}, "conv_dw.weight"),
    "an unknown naming": (lambda s: {f"net.{k}": v for k, v in s.items()}, "no known naming.*net.conv_stem"),
    "nothing": (lambda s: {}, "no known naming"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_tensor_that_does_not_fit_is_refused_by_name(case: str, state: State) -> None:
    change, words = BROKEN[case]
    with pytest.raises(WeightsError, match=words) as caught:
        read_network(change(state), "net.pth")
    assert "net.pth" in str(caught.value) and "\n" not in str(caught.value)


class _Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch executed",)


def _bomb(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(1 << 24))


def _nan(path: Path) -> None:
    save_file({"conv_stem.weight": torch.full((2, 3, 3, 3), float("nan"))}, path)


HOSTILE: dict[str, tuple[str, Callable[[Path], Any], str]] = {
    "code": ("a.pth", lambda p: torch.save({"x": _Evil()}, p), "files that run code are refused"),
    "old code": ("a.pth", lambda p: p.write_bytes(pickle.dumps(_Evil())), "cannot be read as weights"),
    "a module": ("a.pt", lambda p: torch.save(nn.Linear(2, 2), p), "torch.nn.modules.linear.Linear"),
    "a list": ("a.pth", lambda p: torch.save([torch.ones(2)], p), "holds a list"),
    "text inside": ("a.pth", lambda p: torch.save({"state_dict": {"x": "y"}}, p), "'x' is a str"),
    "a bomb": ("a.pth", _bomb, "unpacks to"),
    "rubbish": ("a.pth", lambda p: p.write_bytes(b"\0" * 400), "cannot be read as weights"),
    "empty": ("a.pth", lambda p: p.write_bytes(b""), "cannot be read as weights"),
    "rubbish with another name": ("a.txt", lambda p: p.write_bytes(b"hello"), "is no file of weights"),
    "no numbers": ("a.safetensors", _nan, "no finite numbers"),
    "cut": ("a.safetensors", lambda p: p.write_bytes(b"\xff\0\0\0\0\0\0\0{}"), "not a whole safetensors file"),
    "a sparse tensor": ("a.pth", lambda p: torch.save({"x": torch.eye(3).to_sparse()}, p), "not stored as plain"),
    "a huge view": (
        "a.pth",
        lambda p: torch.save({"x": torch.ones(1).expand(1 << 16, 1 << 16)}, p),
        "holds more than",
    ),
    "no onnx": ("a.onnx", lambda p: p.write_bytes(b"\xff" * 50), "not an ONNX file"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_file_is_one_line_and_runs_nothing(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, write, words = HOSTILE[case]
    monkeypatch.chdir(tmp_path)
    write(tmp_path / name)
    with pytest.raises(ValueError, match=words) as caught:
        read_state(tmp_path / name)
    assert "\n" not in str(caught.value) and not (tmp_path / "executed").exists()


def test_a_file_larger_than_the_bound_is_not_opened(
    tmp_path: Path, state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_file(state, tmp_path / "net.safetensors")
    monkeypatch.setattr(statefile, "MAX_BYTES", 1000)
    with pytest.raises(WeightsError, match="at most 1,000 are read"):
        read_state(tmp_path / "net.safetensors")


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("efficientnet-lite", "did you mean efficientnet-lite"),
        ("missing.pth", "nor a file"),
        ("timm/efficientnet_b0.ra_in1k", "hub timm/efficientnet_b0.ra_in1k: .*cache"),
        ("../../etc/passwd", "nor owner/name"),
    ],
)
def test_a_source_that_cannot_be_had_is_one_line(
    source: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # two folders above a checkout there may be such a file
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(WeightsError, match=words):
        open_weights(source)


def test_the_hub_is_read_from_its_cache(tmp_path: Path, state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    commit = "0123456789abcdef0123456789abcdef01234567"
    folder = tmp_path / "models--timm--tf_mobilenetv3_small_100.in1k"
    snapshot = folder / "snapshots" / commit
    snapshot.mkdir(parents=True)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text(commit)
    save_file(state, snapshot / "model.safetensors")
    config = (
        '{"architecture": "tf_mobilenetv3_small_100", "pretrained_cfg": {"mean": [0.5, 0.5, 0.5], "license": "mit"}}'
    )
    (snapshot / "config.json").write_text(config)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    found = open_weights("timm/tf_mobilenetv3_small_100.in1k").provenance
    assert found.source == f"hub timm/tf_mobilenetv3_small_100.in1k@{commit}"
    assert (found.mean, found.licence, found.padding, found.batchnorm_eps) == ((0.5, 0.5, 0.5), "mit", "same", 1e-3)
    (snapshot / "config.json").write_text("[")
    with pytest.raises(WeightsError, match=r"config\.json cannot be read"):
        open_weights("timm/tf_mobilenetv3_small_100.in1k")


@pytest.mark.parametrize("preset", ["efficientnet-lite0", "efficientnet-b0", "mobilenet-v3-small", "ofa-mbv3-1.0"])
def test_an_onnx_file_without_names_is_read_in_the_order_of_its_graph(preset: str, tmp_path: Path) -> None:
    """BatchNorms are merged into convolutions there and come back as such that only add."""
    whole = load_space(preset)
    space = whole.with_resolutions([64])
    arch = replace(whole.base or whole.max(), resolution=64)
    (tmp_path / "net.onnx").write_bytes(build_model(space.blocks(arch)))
    weights = open_weights(str(tmp_path / "net.onnx"))
    assert weights.network.naming.startswith("ONNX")
    assert matching_preset(weights.network) == (preset if whole.base else None)
    supernet = Supernet(space, seed=4).eval()
    start = start_supernet(supernet, weights)
    assert start.base == arch
    supernet.activate(arch)
    session = onnxruntime.InferenceSession(tmp_path / "net.onnx")
    image = fixed_images(64)[:1]
    expected = torch.from_numpy(session.run(None, {session.get_inputs()[0].name: image.numpy()})[0])
    with torch.no_grad():
        ours = supernet(image)
    # The made-up weights of Once-for-All's largest network give logits of thousands, and lose digits on the way.
    assert float((ours - expected).abs().max()) < 1e-3 * max(1.0, float(expected.abs().max()))


def test_an_onnx_file_of_another_kind_of_network_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(build_model([Block("conv", 16, 3, 8, 3), Block("pool", 16, 8, 8)]))
    with pytest.raises(WeightsError, match="no chain of mbconv layers") as caught:
        open_weights(str(tmp_path / "net.onnx"))
    assert "\n" not in str(caught.value)
