"""The time left of a whole run: from what was expected, corrected by what stages have taken."""

import pytest

from pipeline.runs.outlook import Outlook, in_words

STAGES = ("data", "train", "search", "finetune")
EXPECTED = {"train": 100.0, "search": 50.0, "finetune": 100.0}


class Told:
    """Keeps what it is told last."""

    def __init__(self) -> None:
        self.line, self.progress, self.now = "", (0, 0, ""), 0.0

    def __call__(self, done: int, total: int, what: str) -> None:
        self.progress = (done, total, what)

    def note(self, text: str) -> None: ...

    def whole(self, text: str) -> None:
        self.line = text

    def clock(self) -> float:
        return self.now


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def outlook(told: Told) -> Outlook:
    return Outlook(STAGES, told, told.clock)


def test_nothing_is_promised_before_anything_is_known(outlook: Outlook, told: Told) -> None:
    outlook.begin("data")
    outlook(3, 4, "reading images")
    assert told.line == "stage 1 of 4, data" and told.progress == (3, 4, "reading images")


def test_the_pace_of_a_stage_corrects_the_rest(outlook: Outlook, told: Told) -> None:
    outlook.expected = EXPECTED
    outlook.begin("train")
    assert outlook.left() == 250
    outlook(0, 10, "train supernet")
    told.now = 40.0  # a fifth of it in 40 s: it takes 200 s, twice as long as was expected
    outlook(2, 10, "train supernet")
    assert outlook.left() == pytest.approx(160 + 2 * 150)
    assert told.line == "stage 2 of 4, train; about 8 min left of the whole run"
    told.now = 200.0
    outlook(10, 10, "train supernet")
    outlook.end()
    outlook.begin("search")
    assert outlook.left() == pytest.approx(2 * 150)


def test_a_stage_of_several_parts_ends_no_sooner_than_the_part_at_hand(outlook: Outlook, told: Told) -> None:
    outlook.expected = EXPECTED
    outlook.begin("search")
    outlook(0, 100, "scoring networks")
    told.now = 10.0
    outlook(5, 100, "scoring networks")
    assert outlook.left() == pytest.approx(190 + 100)
    told.now = 11.0
    outlook(0, 10, "evaluations")
    assert outlook.left() == pytest.approx(39 + 100)


def test_a_part_that_goes_on_is_judged_by_what_it_does_now(outlook: Outlook, told: Told) -> None:
    outlook.expected = EXPECTED
    outlook.begin("train")
    outlook(90, 100, "train supernet")  # continued from a checkpoint
    told.now = 10.0
    outlook(95, 100, "train supernet")
    assert outlook.left() == pytest.approx(10 + 2 * 150)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "1 s"), (42, "42 s"), (99, "99 s"), (120, "2 min"), (5000, "83 min"), (12_000, "3 h 20 min")],
)
def test_times_in_words(seconds: float, words: str) -> None:
    assert in_words(seconds) == words
