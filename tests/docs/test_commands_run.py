"""Every command that a page shows is run here, as it stands or with the replacements listed below, in the order of the
pages: what one writes the next reads. A new command that fits nowhere fails the test that counts them."""

import ast
import csv
import importlib.util
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from latency_tables.onnx_models import build_model
from latency_tables.store import save_table
from pipeline.cli.app import run_command
from pipeline.spaces.files import load_space
from pipeline.weights.catalogue import CATALOGUE
from tests.docs.commands import fences, pocketnas_commands
from tests.gate.conftest import TINY, made_table

ROOT = Path(__file__).resolve().parents[2]
# A device, a space, a number of networks or a network connection that a test cannot have: replaced, for any page.
REPLACED = {
    "ssh://pi@raspberry": "host",
    "ssh://pi@raspberrypi": "host",
    "RUN": "runs/mine",
    "RUN/exports": "runs/mine/exports",
    "examples/sign-digits.toml": "photos.toml",
    "path/to/class-folders": "photos",
    "my-space.toml": "tiny.toml",
    "pocketnas.toml": "photos.toml",
    "runs/photos": "runs/mine",
    "runs/photos/exports/model.onnx": "runs/mine/exports/model.onnx",
}
# Measuring commands get a small space and less to measure.
QUICK = {
    "profile": ["--quick", "--visits", "1", "--networks", "8", "--held-out", "2"],
    "table validate": ["--quick"],
}
MEASURED = {"pi.json", "quick.json", "kit.zip", "results.json"}  # files of the small space
IN_A_BROWSER = "tests/latency_tables/test_web.py::test_the_command_makes_a_table_in_a_real_browser"
# Run by a test of its own, which has the device, or an hour's work made small.
ELSEWHERE = {
    "quickstart --out runs/quickstart": "tests/runs/test_end_to_end.py::test_the_printed_document_keeps_the_contract",
    "run photos --out runs/photos --macs 33M --minutes 10": "tests/runs/test_options.py::test_a_folder_and_its_minutes",
    "run photos --out runs/photos --macs 33M": "tests/runs/test_options.py::test_a_folder_and_its_minutes",
    "profile ofa-mbv3-1.0 --out phone.json --device adb://SERIAL?binary=build/onnxruntime_perf_test&"
    "library=build/libonnxruntime.so": "tests/latency_tables/test_runners.py::test_contract",
    "profile ofa-mbv3-1.0 --out phone.json --device adb://SERIAL?binary=benchmark_model": (
        "tests/latency_tables/test_adb.py::test_a_program_of_any_name_times_networks_and_is_removed"
    ),
    "profile ofa-mbv3-1.0 --device host+litert --out litert.json": (
        "tests/latency_tables/test_litert.py::test_a_table_is_made_on_this_machine"
    ),
    "profile efficientnet-lite0 --device coreml://Anna's iPhone?units=ne --precision fp16 --quick --like browser.json"
    " --networks 20 --held-out 10 --out iphone.json": (
        "tests/latency_tables/test_coreml.py::test_a_connected_phone_tells_how_long_its_predictions_took"
    ),
    "profile efficientnet-lite0 --device coreml --precision fp16 --networks 20 --held-out 10 --kit iphone-kit.zip": (
        "tests/latency_tables/test_coreml.py::test_a_kit_times_packages_and_tells_how"
    ),
    "profile efficientnet-lite0 --device qai-hub://Samsung Galaxy S24?compute_unit=npu --like browser.json"
    " --out galaxy.json": (
        "tests/latency_tables/test_qai_hub.py::test_twenty_jobs_and_a_table_of_another_device_make_one"
    ),
    "profile ofa-mbv3-1.0 --device web --out browser.json": IN_A_BROWSER,
    "profile efficientnet-lite0 --device web --listen 0.0.0.0:8000 --out my-phone.json": IN_A_BROWSER,
    "profile ofa-mbv3-1.0 --device web --listen 0.0.0.0:8000 --out browser.json": IN_A_BROWSER,
}
PAGES = (
    "docs/my-photographs.md",  # first, since it makes the run that others read
    "docs/search-my-images.md",
    "README.md",
    "docs/quick-start.md",
    "docs/pretrained.md",
    "docs/export.md",
    "docs/measure-my-phone.md",
    "docs/how-far-to-trust.md",
    "docs/tracking.md",
)
# `docs/ci.md` has the exit codes of its commands tested: tests/docs/test_docs.py::test_the_commands_of_the_ci_guide_run
TINY_SPACE = """
schema_version = 1
name = "tiny"
classes = 2
resolutions = [16]
stem = { channels = 8, kernel = 3, stride = 2, activation = "relu" }
head = { channels = 32, activation = "relu" }
[[stages]]
widths = [16, 24]
depths = [1, 2]
stride = 2
kernels = [3, 5]
expands = [2, 3]
activation = "relu"
"""
PHOTOS = """
[data]
path = "photos"
[space]
name = "tiny.toml"
[device]
table = "quick.json"
[budget]
latency_quantile = 0.9
[train]
epochs = 1
batch_size = 16
[split]
epochs = 1
[search]
evaluations = 6
images = 32
labels = 0
private = 0
[finetune]
candidates = 2
epochs = 1
[export]
formats = ["onnx"]
"""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A user's folder: images, models, a budget, a table, CSV files of scores and of measured networks."""
    folder = tmp_path_factory.mktemp("world")
    rng = random.Random(0)
    for label, colour in (("bright", 180), ("dark", 60)):
        (folder / "photos" / label).mkdir(parents=True)
        for number in range(40):
            shade = colour + rng.randrange(-40, 40)
            Image.new("RGB", (20, 16), (shade, shade, shade)).save(folder / "photos" / label / f"{number}.png")
    for name in ("photo.jpg", "other.png"):
        Image.new("RGB", (40, 30), (180, 170, 190)).save(folder / name)
    (folder / "tiny.toml").write_text(TINY_SPACE)
    (folder / "photos.toml").write_text(PHOTOS)
    for name in ("model.onnx", "old.onnx"):
        (folder / name).write_bytes(build_model(TINY))
    for fence in fences(ROOT / "docs" / "ci.md"):
        if fence.mark.startswith("file: "):
            (folder / fence.mark.removeprefix("file: ")).write_text(fence.text)
    save_table(made_table(), folder / "phone.json")
    for name in ("laptop.json", "browser.json"):
        save_table(made_table(load_space("ofa-mbv3-1.0").distinct_blocks()), folder / name)
    save_table(made_table(load_space("efficientnet-lite0").distinct_blocks()), folder / "my-phone.json")
    _networks_csv(folder)
    _scores_csv(folder / "results.csv")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        # Tables that the pages take for granted.
        assert run_command(["profile", "tiny.toml", "--out", "quick.json", *QUICK["profile"]]) == 0
        shutil.copy("quick.json", "pi.json")
        yield folder


def _networks_csv(folder: Path) -> None:
    """Networks of the tiny space with made-up milliseconds."""
    from pipeline.spaces.files import load_space as load

    space = load(str(folder / "tiny.toml"))
    with (folder / "measured.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["arch", "ms"])
        for arch in space.enumerate():
            writer.writerow([str(arch), 0.01 + sum(block.macs for block in space.blocks(arch)) / 1e8])


def _scores_csv(path: Path) -> None:
    """Architectures of NAS-Bench-Macro with scores that follow the made-up accuracy more or less."""
    rng, space = random.Random(1), load_space("nas-bench-macro")
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["arch", "accuracy", "oneshot", "fewshot", "macs"])
        for _ in range(60):
            arch = space.sample(rng)
            macs = sum(block.macs for block in space.blocks(arch))
            accuracy = 0.9 + macs / 1e10 + rng.gauss(0, 0.01)
            writer.writerow([arch, accuracy, accuracy + rng.gauss(0, 0.02), accuracy + rng.gauss(0, 0.01), macs])


def prepared(words: list[str]) -> list[str]:
    """The command with its replacements and the shell's patterns resolved."""
    small = words[0] == "profile" or words[:2] == ["table", "validate"] or bool(MEASURED & {*words[1:]})
    result = [REPLACED.get(word, word) for word in words]
    if small:
        swap = {"ofa-mbv3-1.0": "tiny.toml", "laptop.json": "quick.json", "--models": "--models", "30": "2", "20": "10"}
        result = [swap.get(word, word) for word in result]
        result += [option for name, options in QUICK.items() if " ".join(words).startswith(name) for option in options]
    if words[0] == "check":
        phones = ("browser.json", "my-phone.json")
        result = ["runs/mine/table.json" if word in phones else word for word in result]  # of the run's own space
    return [match for word in result for match in (sorted(map(str, Path().glob(word))) if "*" in word else [word])]


def commands() -> list[tuple[str, list[str]]]:
    """Every command with its page."""
    return [(page, words) for page in PAGES for words in pocketnas_commands(ROOT / page)]


def imports_published(words: list[str]) -> bool:
    """Whether a command reads a table that others published."""
    return words[:2] == ["table", "import"] and "measured.csv" not in words


def lacks_weights(words: list[str]) -> bool:
    """Whether a command reads published weights whose package is not installed; the tests of weights tell so."""
    return words[0] == "weights" and any(word in CATALOGUE and not CATALOGUE[word].source.available() for word in words)


def lacks_tracker(words: list[str]) -> bool:
    """Whether a command hands over to a program that is not installed."""
    needed = {"--mlflow": "mlflow", "--tensorboard": "tensorboard"}
    return any(word in words and importlib.util.find_spec(name) is None for word, name in needed.items())


def test_every_page_with_commands_is_here() -> None:
    # Not docs/results: those commands made the figures there, on their day.
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]
    shown = {str(page.relative_to(ROOT)) for page in pages if any(pocketnas_commands(page))}
    assert shown == {*PAGES, "docs/ci.md"}
    for target in ELSEWHERE.values():
        file, name = target.split("::")
        assert f"def {name}(" in (ROOT / file).read_text(encoding="utf-8")
    everything = {" ".join(words) for _, words in commands()}
    assert set(ELSEWHERE) <= everything


def test_every_command_runs(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for page, words in commands():
        if " ".join(words) in ELSEWHERE or imports_published(words) or lacks_weights(words) or lacks_tracker(words):
            continue
        if "runs/quickstart" in " ".join(words) and not (world / "runs" / "quickstart").exists():
            shutil.copytree(world / "runs" / "mine", world / "runs" / "quickstart")
        if "--from-kit" in words:  # what the page says to do on the device
            subprocess.run([sys.executable, "kit.zip"], cwd=world, check=True, capture_output=True)
        code = run_command(prepared(words))
        said = capsys.readouterr()
        # Two equal models measured in turn may, on a busy machine, not be told apart (3); a tiny model may miss its
        # budget (1). What is not accepted is 2: a command that does not work.
        accepted = {0, 1, 3} if words[0] == "check" else {0}
        assert code in accepted, f"{page}: {' '.join(words)}: {said.err}"
    _files_are_used_as_the_export_guide_says(capsys)


def _files_are_used_as_the_export_guide_says(capsys: pytest.CaptureFixture[str]) -> None:
    """Two lines for a run or a file, two for the network, and a dozen without pocketnas, which agree."""
    names: dict[str, Any] = {}
    blocks = [
        fence.text for fence in fences(ROOT / "docs" / "export.md") if (fence.kind, fence.mark) == ("python", "run")
    ]
    for block in blocks:
        exec(compile(block, "docs/export.md", "exec"), names)
    assert len(blocks) == 3
    likeliest, *_, label = capsys.readouterr().out.splitlines()
    top = dict(ast.literal_eval(likeliest))
    assert label == next(iter(top))
    assert float(names["probabilities"].max()) == pytest.approx(top[label], abs=1e-4)
    alone = names["network"](names["images"]).softmax(1)[0]
    assert alone.tolist() == pytest.approx(names["probabilities"].tolist(), abs=1e-4)


def test_the_published_tables_are_imported(world: Path, shared_data: Path) -> None:
    names = {"fbnet_cpu_us.txt": "lookup_table.txt", "proxylessnas_mobile_trim.yaml": "mobile_trim.yaml"}
    for file in (shared_data / "latency_luts").iterdir():
        shutil.copy(file, world / names.get(file.name, file.name))
    found = [words for _, words in commands() if imports_published(words)]
    assert len(found) == 3
    for words in found:
        assert run_command(prepared(words)) == 0, words
