"""Progress on a terminal and in a log, as it is drawn."""

import io
import os
import pty
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from rich.console import Console

from pipeline.cli.bars import Bars, Live
from pipeline.cli.progress import Lines

PARTS = [(0, 1, "listing images"), (0, 128, "train [/net]: images"), (64, 128, "train [/net]: images")]


def drawn(text: str) -> list[str]:
    """What a terminal shows in the end: escape sequences carried out as far as bars use them."""
    lines: list[str] = []
    row = 0
    for part in re.split(r"(\x1b\[\d*[A-Za-z]|\x1b\[[\d;?]*[A-Za-z]|\r|\n)", text):
        if part == "\n":
            row += 1
        elif part == "\r" or not part:
            continue
        elif part.startswith("\x1b"):
            if part.endswith("A"):
                row -= int(part[2:-1] or 1)
            elif part.endswith("K") and row < len(lines):
                lines[row] = ""
        else:
            lines += [""] * (row + 1 - len(lines))
            lines[row] += part
    return [line.rstrip() for line in lines]


@pytest.fixture
def terminal() -> Console:
    return Console(file=io.StringIO(), force_terminal=True, width=110, color_system=None, highlight=False)


def output(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_bars_end_full_and_notes_have_lines_of_their_own(terminal: Console) -> None:
    with Live(terminal) as live:
        bars = Bars(live)
        bars.whole("stage 3 of 9, train; about 12 min left of the whole run")
        bars(*PARTS[0])
        bars.note("images: 2 used [of] 2")
        for part in PARTS[1:]:
            bars(*part)
        bars.note("careful\nvery careful")
        bars(128, 128, "train [/net]: images")
        live.refresh()
        assert "stage 3 of 9, train; about 12 min left of the whole run" in output(terminal)
        bars.end()
    lines = [line for line in drawn(output(terminal)) if line]
    assert lines[0] == "images: 2 used [of] 2"
    assert re.fullmatch(r"listing images +━{12} 1/1 +0:00:0\d", lines[1]), lines
    assert lines[2:4] == ["careful", "very careful"]
    assert re.fullmatch(r"train \[/net\] +━{12} 128/128 .*0:00:0\d", lines[4]), lines
    assert len(lines) == 5


def test_a_part_that_ends_early_does_not_claim_more_than_was_done(terminal: Console) -> None:
    with Live(terminal) as live:
        bars = Bars(live)
        bars(12, 60, "evaluations")
        bars.end()
    assert "12/12" in output(terminal) and "60/60" not in output(terminal)


def test_what_was_interrupted_is_not_drawn_full(terminal: Console) -> None:
    with pytest.raises(KeyboardInterrupt), Live(terminal) as live:
        Bars(live)(5, 60, "evaluations")
        raise KeyboardInterrupt
    assert "5/60" in drawn(output(terminal))[0]


def test_a_log_gets_a_line_a_part_with_units_and_the_time_left_of_everything() -> None:
    now = [0.0]
    console = Console(file=io.StringIO(), width=40)
    lines = Lines(console, lambda: now[0])
    lines(0, 1000, "train supernet: images")
    lines.whole("stage 3 of 9, train; about 2 min left of the whole run")
    for seconds, done in ((10, 100), (31, 310), (35, 350), (100, 1000), (101, 1000)):
        now[0] = seconds
        lines(done, 1000, "train supernet: images")
    lines(0, 1, "write report")
    assert output(console).splitlines() == [
        "train supernet: 0/1,000 images",
        "train supernet: 310/1,000 images (10/s), 69 s left; stage 3 of 9, train; about 2 min left of the whole run",
        "train supernet: 1,000/1,000 images (10/s); stage 3 of 9, train; about 2 min left of the whole run",
        "write report: 0/1; stage 3 of 9, train; about 2 min left of the whole run",
    ]


def test_a_command_on_a_real_terminal(tmp_path: Path) -> None:
    """stderr is a pseudo-terminal, stdout a pipe: the bar is drawn, the document stays whole."""
    leader, follower = pty.openpty()
    seen: list[bytes] = []

    def listen() -> None:
        while True:
            try:
                data = os.read(leader, 1 << 16)
            except OSError:
                return
            if not data:
                return
            seen.append(data)

    reader = threading.Thread(target=listen, daemon=True)
    reader.start()
    words = ["profile", "quickstart", "--quick", "--visits", "1", "--networks", "8", "--held-out", "2", "--json"]
    command = [sys.executable, "-c", "from pipeline.cli.start import main; main()", *words]
    command += ["--out", str(tmp_path / "t.json")]
    environment = {**os.environ, "COLUMNS": "110", "TERM": "xterm"}
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=follower, env=environment, check=False, timeout=240)
    os.close(follower)
    reader.join(5)
    shown = drawn(b"".join(seen).decode())
    assert done.returncode == 0, shown
    assert done.stdout.startswith(b"{")
    bar = next(line for line in shown if line.startswith("measuring"))
    (count,) = re.findall(r"(\d+)/(\d+)", bar)
    assert count[0] == count[1] and "left" not in bar
