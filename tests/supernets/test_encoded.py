"""Training on pictures that stay encoded is training on pictures in memory, whoever decodes them and when."""

import os
import signal
from pathlib import Path

import pytest
import torch

from pipeline.data.dataset import Images, load_dataset
from pipeline.data.division import divide
from pipeline.data.large import prepare_encoded
from pipeline.data.prepare import prepare
from pipeline.data.sources import open_source
from pipeline.errors import PipelineError
from pipeline.spaces.files import load_space
from pipeline.supernets import data as training_data
from pipeline.supernets.augment import Augmentation
from pipeline.supernets.data import TrainingData
from pipeline.supernets.evaluate import evaluate
from pipeline.supernets.loading import ahead, workers_for
from pipeline.supernets.settings import TrainSettings
from pipeline.supernets.supernet import Supernet
from pipeline.supernets.training import train
from tests.data.trees import make_tree

SPACE = load_space("quickstart").with_resolutions([12, 16]).with_classes(2)
AUGMENT = Augmentation(crop_area=0.5, brightness=0.2, contrast=0.2, saturation=0.2)
SETTINGS = TrainSettings(batch_size=16, epochs=2, lr=0.05, mixup=0.3, checkpoint_seconds=0)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same pictures as arrays and encoded."""
    root = tmp_path_factory.mktemp("encoded")
    photos = make_tree(root / "photos", {"a": 50, "b": 50})
    division = divide(open_source(str(photos), None, "image", "label"), 0.2, 0.1, 0)
    prepare(division, 18, root / "arrays", seen_px=16)
    prepare_encoded(division, 18, root / "encoded", seen_px=16)
    return root


def _data(folder: Path, split: str = "train") -> TrainingData:
    dataset = load_dataset(folder)
    images: Images = getattr(dataset, split)
    labels = torch.from_numpy(images.labels)
    return TrainingData(images.pixels, labels, dataset.mean, dataset.std, AUGMENT, dataset.seen_px)


@pytest.fixture(params=[0, 2], ids=["here", "two processes"])
def workers(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    count: int = request.param
    monkeypatch.setattr(training_data, "workers_for", lambda result_bytes: count)
    return count


def test_the_weights_are_those_of_pictures_in_memory(prepared: Path, workers: int) -> None:
    trained = {}
    for kind in ("arrays", "encoded"):
        supernet = Supernet(SPACE, seed=1)
        losses = train(supernet, _data(prepared / kind), SETTINGS).losses
        trained[kind] = losses, supernet.state_dict()
    assert trained["encoded"][0] == trained["arrays"][0]
    for name, tensor in trained["arrays"][1].items():
        assert torch.equal(trained["encoded"][1][name], tensor), name


class _Killed(Exception):
    pass


def test_a_killed_training_goes_on_exactly(prepared: Path, workers: int, tmp_path: Path) -> None:
    whole, killed = Supernet(SPACE, seed=1), Supernet(SPACE, seed=1)
    losses = train(whole, _data(prepared / "encoded"), SETTINGS).losses

    def kill(done: int, total: int, what: str) -> None:
        if done == 6:  # within the second epoch of four steps
            raise _Killed

    with pytest.raises(_Killed):
        train(killed, _data(prepared / "encoded"), SETTINGS, tmp_path / "checkpoint", kill)
    again = Supernet(SPACE, seed=2)
    assert train(again, _data(prepared / "encoded"), SETTINGS, tmp_path / "checkpoint").losses == losses
    for name, tensor in whole.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor), name


def test_a_network_is_judged_on_the_same_pixels(prepared: Path, workers: int) -> None:
    network = Supernet(SPACE, seed=1).extract(SPACE.max()).eval()
    splits = [_data(prepared / kind, "search") for kind in ("arrays", "encoded")]
    in_memory = splits[0].normalised()
    assert torch.equal(splits[1].normalised(), in_memory)
    expected = evaluate(network, in_memory, splits[0].labels, batch_size=4)
    assert [evaluate(network, split, split.labels, batch_size=4) for split in splits] == [expected] * 2


def test_a_picture_that_cannot_be_read_ends_the_training_with_one_line(prepared: Path, workers: int) -> None:
    data = _data(prepared / "encoded")
    victim = next(iter(sorted((prepared / "photos" / "a").iterdir())))
    content = victim.read_bytes()
    victim.write_bytes(content[:60])
    try:
        with pytest.raises(PipelineError, match=r"^image 'a/0.png' cannot be read: [^\n]+$"):
            for split in ("train", "search", "test"):
                list(_data(prepared / "encoded", split).batches(8))
    finally:
        victim.write_bytes(content)
    assert len(data) == 70


def _squared(number: int) -> torch.Tensor:
    return torch.tensor(number**2)


def _dies(number: int) -> torch.Tensor:
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return torch.tensor(number)


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_results_come_in_order_and_leave_the_shared_generator_alone(workers: int) -> None:
    before = torch.get_rng_state()
    assert [int(found) for found in ahead(_squared, range(2, 9), workers)] == [n**2 for n in range(2, 9)]
    assert torch.equal(torch.get_rng_state(), before)


def test_a_reading_process_that_dies_is_one_line() -> None:
    with pytest.raises(PipelineError, match=r"^a process that reads images has gone: [^\n]+$"):
        list(ahead(_dies, range(8), 1))


def test_processes_are_as_many_as_shared_memory_holds_results_of() -> None:
    assert workers_for(1) >= 1
    assert workers_for(1 << 60) == 0


def test_pictures_in_memory_need_no_processes(prepared: Path) -> None:
    assert _data(prepared / "arrays").workers(16) == 0
    assert _data(prepared / "encoded").workers(16) >= 1
