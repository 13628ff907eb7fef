"""The command line: one document on stdout, one line on stderr for what is wrong, exit codes of the contract."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.cli.app import run_command
from tests.waiting import until

Captured = pytest.CaptureFixture[str]


def test_space_prints_the_published_size(capsys: Captured) -> None:
    assert run_command(["space", "ofa-mbv3-1.0", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["size"] == 7 * 7371**5
    assert printed["macs"]["max"] == 566_170_656 and printed["params"]["max"] == 7_664_760


def test_space_with_an_architecture_lists_its_blocks(capsys: Captured) -> None:
    assert run_command(["space", "efficientnet-b0", "base", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["params"] == 5_288_548
    assert sum(block["macs"] for block in printed["blocks"]) == printed["macs"]


@pytest.mark.parametrize("name", ["max", "random:3", "r32_w64-skip_w128-k3e3_w256-k5e6-k3e3", "22212220"])
def test_every_way_to_name_an_architecture(name: str, capsys: Captured) -> None:
    assert run_command(["space", "nas-bench-macro", name, "--json"]) == 0
    arch = json.loads(capsys.readouterr().out)["arch"]
    assert run_command(["space", "nas-bench-macro", arch, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["arch"] == arch


def test_ofa_json_inline_and_in_a_file(tmp_path: Path, capsys: Captured) -> None:
    text = json.dumps({"r": 192, "d": [2, 3, 4, 2, 3], "ks": [3, 5, 7, 3] * 5, "e": [3, 4, 6, 6] * 5})
    (tmp_path / "net.json").write_text(text)
    for arch in (text, str(tmp_path / "net.json")):
        assert run_command(["space", "ofa-mbv3-1.0", arch, "--json"]) == 0
        printed = json.loads(capsys.readouterr().out)["arch"]
        assert printed.startswith("r192_w16-k3e1_w24-k3e3-k5e4_w40-k3e3-k5e4-k7e6_w80-")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["space", "ofa-mbv3"], ["'ofa-mbv3'", "did you mean ofa-mbv3-1."]),
        (["space", "quickstart", "maximal"], ["'maximal'", "max, min, base"]),
        (["space", "quickstart", "base"], ["not built around a network"]),
        (["space", "nas-bench-macro", "r32_w64-k7e3_w128-skip_w256-skip"], ["k7e3", "stage 1 layer 1", "k3e3"]),
        (["space", "ofa-mbv3-1.0", '{"d": [2], "ks": [3], "e": [3]}'], ["'d' lists 1 values", "has 5"]),
        (["space"], ["space"]),
        (["spaces"], ["spaces"]),
        (["space", "quickstart", "--jsn"], ["--jsn"]),
        (["check", "m.onnx", "--budget", "b.toml", "--rounds", "3"], ["--rounds", "greater than or equal to 12"]),
        (
            ["table", "import", "a.yaml", "--device", "d", "--out", "t.json"],
            ["--format ''", "ofa, proxylessnas, fbnet"],
        ),
        (["run", "nowhere.toml", "--out", "x"], ["no configuration at 'nowhere.toml'"]),
        (["train", "nowhere"], ["nowhere is no run"]),
        (["check", "nowhere.onnx"], ["--budget"]),
        (["table", "show", "nowhere.json"], ["nowhere.json"]),
        (["profile", "quickstart", "--device", "host://x", "--out", "t.json"], ["'host://x'", "takes no address"]),
        (
            ["profile", "quickstart", "--device", "", "--out", "t.json"],
            ["device ''", "host, host+litert", "ssh://user@board"],
        ),
    ],
)
def test_a_mistake_is_one_line_that_names_it(arguments: list[str], words: list[str], capsys: Captured) -> None:
    assert run_command(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert len(captured.err.splitlines()) == 1 and captured.err.startswith("pocketnas: ")
    assert all(word in captured.err for word in words), captured.err


def test_debug_adds_the_traceback(capsys: Captured) -> None:
    assert run_command(["space", "nowhere", "--debug"]) == 2
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "theirs"),
    [
        (["-m", "pipeline"], ["exporters", "latency_tables"]),
        (["-P", "-m", "pipeline"], ["exporters", "latency_tables", "pipeline"]),
    ],
)
def test_packages_of_the_user_may_be_called_as_ours(command: list[str], theirs: list[str], tmp_path: Path) -> None:
    """Where they stand, as a folder of code is found first by `python -m`."""
    (tmp_path / "pipeline").mkdir()
    for name in theirs:
        (tmp_path / name).mkdir(exist_ok=True)
        (tmp_path / name / "__init__.py").write_text("raise SystemExit('not ours')")
    command = [sys.executable, *command, "space", "quickstart", "max"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "") and "MACs" in done.stdout


def test_a_full_disk_is_one_line_and_the_run_goes_on_later(tmp_path: Path) -> None:
    """A limit on the size of files stands for a full disk: the system refuses the write in the same way."""
    config = tmp_path / "c.toml"
    config.write_text('[data]\npath = "digits"\n[space]\nname = "quickstart"\n')
    script = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000));"
        f"from pipeline.cli.app import run_command; sys.exit(run_command(['run', {str(config)!r}, '--out', 'run']))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("pocketnas: no space left")
    assert not list((tmp_path / "run" / "data").glob("*.npy"))


def test_ctrl_c_is_one_line_and_the_same_command_goes_on(tmp_path: Path) -> None:
    config = tmp_path / "c.toml"
    config.write_text('[data]\npath = "digits"\n[space]\nname = "quickstart"\n[device]\neffort = "quick"\n')
    command = [sys.executable, "-c", "from pipeline.cli.start import main; main()"]
    command += ["run", str(config), "--out", str(tmp_path / "run")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    until((tmp_path / "run" / "stages" / "data.json").exists, "record of stage data")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 2 and out == ""
    assert err.splitlines()[-1].startswith("pocketnas: interrupted; the same command continues")


def test_a_foreign_file_is_not_overwritten_by_a_table(tmp_path: Path, capsys: Captured) -> None:
    theirs = tmp_path / "notes.json"
    theirs.write_text("{}")
    assert run_command(["profile", "quickstart", "--out", str(theirs)]) == 2
    arguments = ["--format", "ofa", "--device", "d", "--out", str(theirs)]
    assert run_command(["table", "import", "none.yaml", *arguments]) == 2
    assert capsys.readouterr().err.count("notes.json is there and is no latency table") == 2
    assert theirs.read_text() == "{}"


def test_with_another_devices_table_few_networks_are_timed(tmp_path: Path, capsys: Captured) -> None:
    """Where each network is a job that costs money, the defaults must not ask for 300."""
    out = str(tmp_path / "t.json")
    words = ["profile", "quickstart", "--quick", "--like", "epyc-vm-quickstart", "--out", out, "--json"]
    assert run_command(words) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["calibration"]["networks"], told["error"]["networks"]) == (20, 10)


def test_rank_tells_how_many_rows_it_leaves_out(tmp_path: Path, capsys: Captured) -> None:
    rows = ["accuracy,score", *(f"{n},{n if n != 3 else 'nan'}" for n in range(8)), "9,"]
    (tmp_path / "r.csv").write_text("\n".join(rows))
    assert run_command(["rank", str(tmp_path / "r.csv"), "--truth", "accuracy", "--proxy", "score"]) == 0
    assert "2 row(s) without a value of accuracy or score are left out" in capsys.readouterr().err


def test_nothing_is_left_of_a_run_whose_images_cannot_be_used(tmp_path: Path, capsys: Captured) -> None:
    config = tmp_path / "config.toml"
    for place in (tmp_path / "nowhere", tmp_path / "empty"):
        (tmp_path / "empty").mkdir(exist_ok=True)
        config.write_text(f"[data]\npath = {json.dumps(str(place))}\n")
        assert run_command(["run", str(config), "--out", str(tmp_path / "run")]) == 2
        assert str(place) in capsys.readouterr().err
        assert not (tmp_path / "run").exists()


def test_tables_of_others_tell_no_cores_and_no_common_rows(tmp_path: Path, capsys: Captured) -> None:
    entry = "Conv-input:{0}x{0}x3-output:{1}x{1}x24"
    for name, size in (("a", 224), ("b", 192)):
        (tmp_path / f"{name}.yaml").write_text(f"{entry.format(size, size // 2)}:\n  mean: 1.5\n")
        out = str(tmp_path / f"{name}.json")
        words = ["table", "import", str(tmp_path / f"{name}.yaml"), "--format", "ofa", "--device", name, "--out", out]
        assert run_command(words) == 0
    capsys.readouterr()
    assert run_command(["table", "show", str(tmp_path / "a.json")]) == 0
    assert "1 thread(s), fp32" in capsys.readouterr().out
    both = [str(tmp_path / "a.json"), str(tmp_path / "b.json")]
    assert run_command(["table", "diff", *both]) == 0
    assert "no row in common: 1 are only in A, 1 only in B" in capsys.readouterr().out
    assert run_command(["table", "diff", *both, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["median_percent"] is None
