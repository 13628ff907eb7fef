"""Damaged and hostile files end in a sentence, soon and in little memory."""

import os
import random
import resource
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from latency_tables.onnx_models import build_model
from pipeline.modelfiles.errors import ModelFileError
from pipeline.modelfiles.read import read_model
from tests.gate.conftest import FILES, TINY
from tests.modelfiles.tflite_files import Op, Tensor, tflite_file

SECONDS = 10.0
# A minute by this variable tries some thousands.
MUTATIONS = int(os.environ.get("POCKETNAS_MUTATIONS", "150"))


def sources() -> dict[str, bytes]:
    """A small file of each kind, as bytes of the part that is read."""
    package = FILES / "{}.mlpackage" / "Data/com.apple.CoreML/model.mlmodel"
    loop = helper.make_graph(
        [helper.make_node("Add", ["a", "a"], ["b"]), helper.make_node("Identity", ["c"], ["d"])],
        "body",
        [helper.make_tensor_value_info("i", 7, []), helper.make_tensor_value_info("c", 9, []),
         helper.make_tensor_value_info("a", 1, None)],
        [helper.make_tensor_value_info("d", 9, []), helper.make_tensor_value_info("b", 1, None)],
    )  # fmt: skip
    nodes = [
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("Loop", ["n", "", "x"], ["y"], body=loop),
        helper.make_node("Reshape", ["y", "s"], ["z"]),
        helper.make_node("FusedConv", ["z", "w"], ["o"], domain="com.microsoft"),
    ]
    weights = [
        numpy_helper.from_array(np.ones((2, 3, 1, 1), np.float32), "w"),
        numpy_helper.from_array(np.array(4), "n"),
    ]
    image = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 4, 4])
    graph = helper.make_graph(nodes, "g", [image], [helper.make_tensor_value_info("o", 1, None)], weights)
    return {
        "blocks.onnx": build_model(TINY),
        "flow.onnx": helper.make_model(graph).SerializeToString(),
        "tiny.tflite": (FILES / "tiny.tflite").read_bytes(),
        "tiny.mlpackage": Path(str(package).format("tiny")).read_bytes(),
        "branch.mlpackage": Path(str(package).format("branch")).read_bytes(),
        "range.mlpackage": Path(str(package).format("range")).read_bytes(),
    }


def mutated(data: bytes, rng: random.Random) -> bytes:
    """One of the ways in which bytes go wrong: changed, cut, doubled, or set to an extreme number."""
    bytes_ = bytearray(data)
    place = rng.randrange(len(bytes_))
    match rng.randrange(5):
        case 0:
            for _ in range(rng.randrange(1, 8)):
                bytes_[rng.randrange(len(bytes_))] = rng.randrange(256)
        case 1:
            del bytes_[place:]
        case 2:
            del bytes_[place : place + rng.randrange(1, 40)]
        case 3:
            bytes_[place:place] = bytes_[place : place + rng.randrange(1, 200)]
        case _:
            extreme = rng.choice(
                [b"\xff" * 4, b"\x00" * 4, b"\xff\xff\xff\x7f", b"\x00\x00\x00\x80", b"\xff" * 9 + b"\x01"]
            )
            bytes_[place : place + len(extreme)] = extreme
    return bytes(bytes_)


@pytest.mark.parametrize("name", sorted(sources()))
def test_a_damaged_file_is_read_or_refused_in_words(tmp_path: Path, name: str) -> None:
    data, rng = sources()[name], random.Random(name)
    path = content = tmp_path / name
    if path.suffix == ".mlpackage":
        shutil.copytree(FILES / name, path)
        content = path / "Data/com.apple.CoreML/model.mlmodel"
    refused, slowest = 0, 0.0
    for _ in range(MUTATIONS):
        content.write_bytes(mutated(data, rng))
        began = time.process_time()
        try:
            facts = read_model(path)
            assert facts.macs is None or facts.macs >= 0
            assert facts.params is None or facts.params >= 0
        except ModelFileError as error:
            refused += 1
            assert "\n" not in str(error)
        slowest = max(slowest, time.process_time() - began)
    assert refused > MUTATIONS // 10
    assert slowest < SECONDS
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 8e6  # kB, of the whole test process


def _longest_vector() -> bytes:
    data = bytearray(tflite_file([Tensor((1, 4)), Tensor((1, 4))], [Op(19, (0,), (1,))], [0], [1]))
    # The only vector of the two sizes 1 and 4.
    place = bytes(data).index(bytes([2, 0, 0, 0, 1, 0, 0, 0, 4, 0, 0, 0]))
    data[place : place + 4] = b"\xff\xff\xff\xff"
    return bytes(data)


def _reversed_nodes() -> bytes:
    nodes = [helper.make_node("Relu", [f"t{i}"], [f"t{i + 1}"]) for i in range(60_000)]
    image = helper.make_tensor_value_info("t0", 1, [1, 4])
    graph = helper.make_graph(nodes[::-1], "g", [image], [helper.make_tensor_value_info("t60000", 1, None)])
    return bytes(helper.make_model(graph).SerializeToString())


def _one(node: onnx.NodeProto, *weights: onnx.TensorProto, shape: tuple[int, ...] = (1, 3, 4, 4)) -> bytes:
    image = helper.make_tensor_value_info("x", 1, shape)
    graph = helper.make_graph([node], "g", [image], [helper.make_tensor_value_info("y", 1, None)], weights)
    return bytes(helper.make_model(graph).SerializeToString())


def _deep_branches(depth: int) -> bytes:
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])], "g", [], [helper.make_empty_tensor_value_info("y")]
    )
    for _ in range(depth):
        node = helper.make_node("If", ["c"], ["y"], then_branch=graph, else_branch=graph)
        graph = helper.make_graph([node], "g", [], [helper.make_empty_tensor_value_info("y")])
    for name, kind in (("x", 1), ("c", 9)):
        graph.input.append(helper.make_tensor_value_info(name, kind, [1]))
    return bytes(helper.make_model(graph).SerializeToString())


def _weight(*shape: int) -> onnx.TensorProto:
    return numpy_helper.from_array(np.ones(shape, np.float32), "w")


def cases() -> Iterator[tuple[str, bytes, str]]:
    yield "vector.tflite", _longest_vector(), "a vector is longer than the file"
    yield "few.onnx", _one(helper.make_node("Conv", ["x"], ["y"])), "contradict|cannot|unknown"
    yield "rank.onnx", _one(helper.make_node("Conv", ["x", "w"], ["y"]), _weight(2, 3)), "contradict"
    yield (
        "channels.onnx",
        _one(helper.make_node("Conv", ["x", "w"], ["y"]), _weight(2, 4, 1, 1)),
        "channels are 3 and 4",
    )
    yield "groups.onnx", _one(helper.make_node("Conv", ["x", "w"], ["y"], group=0), _weight(2, 3, 1, 1)), "contradict"
    yield "rows.onnx", _one(helper.make_node("MatMul", ["x", "w"], ["y"]), _weight(5, 6)), "contradict"
    yield "circle.onnx", _one(helper.make_node("Relu", ["y"], ["y"])), "circle"
    yield "branches.onnx", _deep_branches(13), "not an ONNX file|graphs lie inside"


@pytest.mark.parametrize(("name", "content", "says"), [pytest.param(*case, id=case[0]) for case in cases()])
def test_what_cannot_be_is_named(tmp_path: Path, name: str, content: bytes, says: str) -> None:
    (tmp_path / name).write_bytes(content)
    began = time.process_time()
    with pytest.raises(ModelFileError, match=says):
        read_model(tmp_path / name)
    assert time.process_time() - began < SECONDS


def test_nodes_in_the_wrong_order_are_sorted_in_time_that_grows_with_their_number(tmp_path: Path) -> None:
    (tmp_path / "reversed.onnx").write_bytes(_reversed_nodes())
    began = time.process_time()
    assert read_model(tmp_path / "reversed.onnx").macs == 0
    assert time.process_time() - began < SECONDS


@pytest.mark.parametrize("size", [0, -1])
def test_a_size_that_is_not_positive_is_open(tmp_path: Path, size: int) -> None:
    path = tmp_path / "open.onnx"
    path.write_bytes(_one(helper.make_node("Conv", ["x", "w"], ["y"]), _weight(2, 3, 1, 1), shape=(1, 3, size, size)))
    facts = read_model(path)
    assert (facts.macs, facts.uncounted) == (0, {"Conv of unknown shape": 1})
    assert facts.open_inputs == {"x": (1, 3, None, None)}


def test_a_pipe_is_no_model(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.onnx")
    (tmp_path / "zero.onnx").symlink_to("/dev/zero")
    for name in ("pipe.onnx", "zero.onnx"):
        with pytest.raises(ModelFileError, match="is no plain file"):
            read_model(tmp_path / name)
