"""What a run's winner answered on the test split, as its page and its model card show it."""

import io
from typing import TYPE_CHECKING, Final, Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.report.data import Answers, Mistake
from pipeline.runs.documents.base import RunError
from pipeline.runs.documents.finetune import AnswersFile
from pipeline.runs.run import Run

if TYPE_CHECKING:
    from pipeline.data.dataset import Dataset

MOST_MISTAKES: Final = 12
MOST_BYTES: Final = 150_000  # of all pictures of mistakes together
_SIDE_PX: Final = 96
_SMALL_PX: Final = 48  # up to which pictures are kept as they are, without loss


def winner_answers(run: Run, mistakes: int = MOST_MISTAKES) -> Answers | None:
    """Counts of true and given classes and the worst mistakes; None for a run that kept no answers.

    Raises RunError where the answers are not of the images that are there.
    """
    file = run.folder.answers
    if not file.exists():
        return None
    said, dataset = AnswersFile.load(file), run.dataset
    given, labels = np.array(said.classes, np.int64), dataset.test.labels
    count = len(dataset.classes)
    if len(given) != len(labels) or len(said.probabilities) != len(labels) or (len(given) and given.max() >= count):
        raise RunError(f"{file} is not of the {len(labels)} test images of {run.folder.data}; finetune writes it anew")
    confusion = np.zeros((count, count), np.int64)
    np.add.at(confusion, (labels, given), 1)
    worst = _worst(given, labels, np.array(said.probabilities), mistakes)
    return Answers(dataset.classes, confusion, _mistakes(dataset, worst, given, said.probabilities))


def _worst(
    given: NDArray[np.int64], labels: NDArray[np.int64], probabilities: NDArray[np.float64], count: int
) -> list[int]:
    """The places of the wrong answers that were given with most confidence."""
    wrong = np.flatnonzero(given != labels)
    return [int(place) for place in wrong[np.argsort(-probabilities[wrong], kind="stable")][:count]]


def _mistakes(
    dataset: "Dataset", places: list[int], given: NDArray[np.int64], probabilities: list[float]
) -> tuple[Mistake, ...]:
    """The images at `places` as small pictures, as many as fit."""
    found: list[Mistake] = []
    room = MOST_BYTES
    for place in places:
        picture, media = _picture(dataset.test.pixels[np.array([place])][0], dataset.seen_px)
        room -= len(picture)
        if room < 0:
            break
        found.append(
            Mistake(
                picture=picture,
                media=media,
                truth=dataset.classes[dataset.test.labels[place]],
                answer=dataset.classes[given[place]],
                probability=probabilities[place],
                name=dataset.test_names[place] if place < len(dataset.test_names) else "",
            )
        )
    return tuple(found)


def _picture(pixels: NDArray[np.uint8], seen_px: int) -> tuple[bytes, Literal["image/png", "image/jpeg"]]:
    """What a network sees of stored pixels (size, size, 3), encoded."""
    from PIL import Image

    first = (len(pixels) - seen_px) // 2
    image = Image.fromarray(np.ascontiguousarray(pixels[first : first + seen_px, first : first + seen_px]))
    stream = io.BytesIO()
    if seen_px <= _SMALL_PX:
        image.save(stream, "PNG", optimize=True)
        return stream.getvalue(), "image/png"
    image.thumbnail((_SIDE_PX, _SIDE_PX), Image.Resampling.BICUBIC)
    image.save(stream, "JPEG", quality=82)
    return stream.getvalue(), "image/jpeg"
