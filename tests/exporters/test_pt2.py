"""A `.pt2` is read as data by who does not trust it: the same answers, and nothing that the file asks for is run."""

import io
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from exporters import (
    EXPORTERS,
    CannotRun,
    ExportError,
    ExportOptions,
    Metadata,
    Samples,
    UnsupportedOperator,
    export_all,
)
from exporters.isolated import opened
from exporters.pt2.data import Program
from tests.exporters.networks import made

RAN = Path("ran")


class Payload:
    """Unpickled, it leaves a file."""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str, str]]:
        return open, (str(RAN), "w")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pt2")
    network, samples = made("one channel")
    export_all(network, Samples(samples.images[:2]), ["pt2"], folder, Metadata())
    return folder / "model.pt2"


@pytest.mark.parametrize("name", ["one channel", "multi-head attention", "weight norm", "bilinear resize in front"])
@pytest.mark.parametrize("batch", [1, None])
def test_it_computes_what_torchs_own_loader_does(name: str, batch: int | None, tmp_path: Path) -> None:
    network, samples = made(name)
    export_all(network, samples, ["pt2"], tmp_path, Metadata(), ExportOptions(batch=batch))
    (trusting,) = EXPORTERS["pt2"].open(tmp_path / "model.pt2")
    program = Program(tmp_path / "model.pt2")
    assert program.shape == (batch, *samples.images.shape[1:])
    assert json.loads(program.metadata) == trusting.metadata
    images = samples.images[:1] if batch else samples.images[:7]
    np.testing.assert_allclose(program(torch.from_numpy(images)).numpy(), trusting.run(images), atol=1e-6)


def rewritten(path: Path, target: Path, change: Callable[[dict[str, bytes]], None]) -> Path:
    """The archive with other contents."""
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    change(files)
    with zipfile.ZipFile(target, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return target


def graph(files: dict[str, bytes], change: Callable[[Any], None]) -> None:
    document = json.loads(files["model/models/model.json"])
    change(document)
    files["model/models/model.json"] = json.dumps(document).encode()


def pickled_inputs(files: dict[str, bytes]) -> None:
    files["model/data/sample_inputs/model.pt"] = pickle.dumps(Payload())


def pickled_weights(files: dict[str, bytes]) -> None:
    name = "model/data/weights/model_weights_config.json"
    config = json.loads(files[name])
    first = next(iter(config["config"].values()))
    first["use_pickle"] = True
    files[f"model/data/weights/{first['path_name']}"] = pickle.dumps(Payload())
    files[name] = json.dumps(config).encode()


def guards(files: dict[str, bytes]) -> None:
    graph(files, lambda document: document.update(guards_code=[f"open({str(RAN)!r}, 'w') is not None"]))


def function(files: dict[str, bytes]) -> None:
    graph(files, lambda document: document["graph_module"]["graph"]["nodes"][0].update(target="torch.os.abort"))


def file_operator(files: dict[str, bytes]) -> None:
    node = {"target": "torch.ops.aten.from_file.default", "inputs": [], "outputs": [], "metadata": {}}
    graph(files, lambda document: document["graph_module"]["graph"]["nodes"].insert(0, node))


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (pickled_inputs, None),  # nobody reads them
        (guards, None),
        (pickled_weights, CannotRun),
        (function, UnsupportedOperator),
        (file_operator, UnsupportedOperator),
    ],
)
def test_what_a_file_asks_for_is_not_run(
    small: Path,
    tmp_path: Path,
    change: Callable[[dict[str, bytes]], None],
    error: type[ExportError] | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    hostile = rewritten(small, tmp_path / "hostile.pt2", change)
    images = made("one channel")[1].images[:2]
    if error is None:
        (runtime,) = opened(EXPORTERS["pt2"], hostile)
        assert runtime.run(images).shape == (2, 10)
    else:
        with pytest.raises(error, match=r"hostile\.pt2|is none of ATen's"):
            opened(EXPORTERS["pt2"], hostile)
    assert not RAN.exists()


def test_the_payload_would_have_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    pickle.load(io.BytesIO(pickle.dumps(Payload()))).close()
    assert RAN.exists()
