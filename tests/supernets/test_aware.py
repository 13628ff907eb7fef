"""Quantisation simulated in training: it rounds what an int8 file rounds, trains, and goes on after a kill."""

from pathlib import Path

import pytest
import torch

from exporters.quantised import int8_model, open_model
from latency_tables.blocks import Activation, Block
from pipeline.supernets.aware import QuantisationAware
from pipeline.supernets.data import TrainingData
from pipeline.supernets.network import Network
from pipeline.supernets.settings import TrainSettings
from pipeline.supernets.steps import EpochEnd
from pipeline.supernets.training import train

torchao = pytest.importorskip("torchao", reason="torchao is not installed")

IMAGES = torch.randn(64, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def network(activation: Activation) -> Network:
    """Every kind of block, with BatchNorm statistics of the images."""
    made = Network(
        (
            Block("conv", 16, 3, 8, 3, 2, activation=activation),
            Block("mbconv", 8, 8, 8, 3, 1, 24, 0, activation, True),
            Block("mbconv", 8, 8, 8, 3, 1, 24, 8, activation, True),
            Block("conv", 8, 8, 32, activation=activation),
            Block("pool", 8, 32, 32),
            Block("linear", 1, 32, 10),
        )
    )
    made.train()
    with torch.no_grad():
        for _ in range(20):
            made(IMAGES)
    return made.eval()


@pytest.mark.parametrize("activation", ["relu6", "hswish"])
def test_what_is_simulated_errs_as_the_int8_file_does(activation: Activation, tmp_path: Path) -> None:
    from torchao.quantization.pt2e import disable_observer

    exact = network(activation)
    simulated = QuantisationAware(exact, IMAGES)
    simulated.apply(disable_observer)  # the file's ranges stay, too
    (tmp_path / "int8.onnx").write_bytes(int8_model(exact, IMAGES.numpy(), tmp_path))
    with torch.no_grad():
        right, ours = exact(IMAGES), simulated(IMAGES)
    theirs = torch.from_numpy(open_model(tmp_path / "int8.onnx").run(IMAGES.numpy()))
    errors = torch.stack([(ours - right).flatten(), (theirs - right).flatten()])
    assert float(errors.std(dim=1).min()) > 0
    # Unrelated rounding, as of a scale that is half a per cent off, gives about 0.1.
    assert float(torch.corrcoef(errors)[0, 1]) > 0.5


def data() -> TrainingData:
    """Pictures of two colours, which are the classes."""
    labels = torch.arange(64) % 2
    pixels = (labels * 120 + 60).to(torch.uint8)[:, None, None, None].expand(64, 16, 16, 3).contiguous()
    return TrainingData(pixels, labels, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))


class _Killed(Exception):
    pass


def test_training_goes_on_after_a_kill_and_gives_the_same_weights(tmp_path: Path) -> None:
    settings = TrainSettings(recipe="alone", epochs=3, batch_size=16, lr=0.01, checkpoint_seconds=0.0)

    def trained(file: Path | None, killed_at: int | None = None) -> Network:
        model = network("relu6")
        aware = QuantisationAware(model, IMAGES)

        def end(now: EpochEnd) -> None:
            if killed_at is not None and now.step >= killed_at:
                raise _Killed

        result = train(aware, data(), settings, file, None, end)
        assert result.losses[-1] < result.losses[0]
        aware.write_back(model)
        return model

    straight = trained(None)
    with pytest.raises(_Killed):
        trained(tmp_path / "checkpoint.safetensors", killed_at=4)
    assert (tmp_path / "checkpoint.safetensors").exists()
    again = trained(tmp_path / "checkpoint.safetensors")
    before = network("relu6").state_dict()
    for name, tensor in straight.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name
    assert not torch.equal(straight.state_dict()["0.conv.weight"], before["0.conv.weight"])


def test_what_is_written_back_is_what_was_simulated() -> None:
    from torchao.quantization.pt2e import disable_fake_quant

    model = network("hswish")
    aware = QuantisationAware(model, IMAGES)
    settings = TrainSettings(recipe="alone", epochs=1, batch_size=16, lr=0.01)
    train(aware, data(), settings)
    aware.write_back(model)
    aware.apply(disable_fake_quant)
    with torch.no_grad():
        assert torch.allclose(model.eval()(IMAGES), aware(IMAGES), atol=1e-5)
