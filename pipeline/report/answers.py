"""What the winner answers on the test split: class by class, what it takes for what, and its worst mistakes."""

from base64 import b64encode
from typing import Final

import numpy as np

from pipeline.ranking.proportion import wilson_interval
from pipeline.report.data import Answers, Mistake
from pipeline.report.html import section, table, text

MOST_CLASSES: Final = 30  # in a matrix or a table of classes that a person can read
MOST_PAIRS: Final = 15

_NOT_KEPT: Final = (
    "This run was made before answers were kept. 'pocketnas finetune RUN --again' keeps them, and the stages after it "
    "then write this page anew."
)


def answers_section(answers: Answers | None) -> str:
    """Confusion matrix, accuracy by class and worst mistakes."""
    if answers is None:
        return section("answers", "What it gets right and wrong", f'<p class="note">{_NOT_KEPT}</p>')
    parts = [f'<p class="note">{answers_words(answers)}</p>', _by_class(answers)]
    if len(answers.classes) <= MOST_CLASSES:
        parts.append(_matrix(answers))
    parts += [_pairs(answers), _mistakes(answers.mistakes)]
    return section("answers", "What it gets right and wrong", "".join(parts))


def answers_words(answers: Answers) -> str:
    """In a sentence: how many are wrong, and in which class most."""
    total, right = int(answers.confusion.sum()), int(np.trace(answers.confusion))
    words = f"{total - right:,} of {total:,} test images get a wrong answer."
    rows = [row for row in class_rows(answers) if row[1]]
    if right < total and rows:
        worst = rows[0]
        words += f" Class {text(worst[0])} has the lowest accuracy: {worst[2]} of {worst[1]} right."
    return words


def class_rows(answers: Answers) -> list[tuple[str, int, int]]:
    """Name, images and right answers of every class, the lowest accuracy first; classes without images last."""
    images, right = answers.confusion.sum(axis=1), np.diag(answers.confusion)
    rows = [(name, int(n), int(k)) for name, n, k in zip(answers.classes, images, right, strict=True)]
    return sorted(rows, key=lambda row: (row[1] == 0, row[2] / max(1, row[1]), row[0]))


def _by_class(answers: Answers) -> str:
    rows = class_rows(answers)
    told = rows[:MOST_CLASSES]
    heading = "Accuracy by class" + (f": the lowest {len(told)} of {len(rows)}" if len(told) < len(rows) else "")
    cells = [
        (
            text(name),
            f"{right:,} of {images:,}",
            f"{right / images:.1%}" if images else "no image",
            "{:.1%} to {:.1%}".format(*wilson_interval(right, images)) if images else "",
        )
        for name, images, right in told
    ]
    heads = ("class", "right", "accuracy", "95 % interval")
    return f"<h3>{heading}</h3>" + table(heads, cells, numbers={1, 2, 3}, narrow=True)


def _matrix(answers: Answers) -> str:
    """Rows are true classes, columns answers; a row's colours are shares of its images."""
    numbers = range(len(answers.classes))
    head = "".join(f'<th scope="col" title="{text(answers.classes[n])}">{n}</th>' for n in numbers)
    rows = []
    for true in numbers:
        counts = answers.confusion[true]
        total = max(1, int(counts.sum()))
        cells = "".join(
            f'<td class="{"right" if said == true else ""}{"" if counts[said] else " none"}" '
            f'style="--share:{_shade(int(counts[said]), total)}%">{counts[said]}</td>'
            for said in numbers
        )
        name = text(answers.classes[true])
        shown = str(true) if name == str(true) else f"{true}: {name}"
        rows.append(f'<tr><th scope="row" title="{name}">{shown}</th>{cells}</tr>')
    return (
        "<h3>Which class is taken for which</h3>"
        '<p class="note">Each row is a true class, each column an answer, by number.</p>'
        '<div class="scroll"><table class="confusion"><thead><tr><td></td>'
        f"{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def _shade(count: int, total: int) -> int:
    """How strong a cell is coloured, in percent: a single image can be seen."""
    return round(12 + 68 * count / total) if count else 0


def _pairs(answers: Answers) -> str:
    """The confusions that happen most, where there are too many classes for a matrix."""
    if len(answers.classes) <= MOST_CLASSES:
        return ""
    wrong = answers.confusion.copy()
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:MOST_PAIRS]
    rows = [
        (text(answers.classes[true]), text(answers.classes[said]), f"{wrong[true, said]}", f"{of}")
        for true, said in zip(*np.unravel_index(order, wrong.shape), strict=True)
        if wrong[true, said]
        for of in [int(answers.confusion[true].sum())]
    ]
    heads = ("is", "was taken for", "images", "of")
    return "<h3>What is mistaken most</h3>" + table(heads, rows, numbers={2, 3})


def _mistakes(mistakes: tuple[Mistake, ...]) -> str:
    if not mistakes:
        return ""
    items = []
    for mistake in mistakes:
        truth, answer = text(mistake.truth), text(mistake.answer)
        source = f"data:{mistake.media};base64,{b64encode(mistake.picture).decode()}"
        small = ' class="small"' if mistake.media == "image/png" else ""
        name = f'<div class="name">{text(mistake.name)}</div>' if mistake.name else ""
        items.append(
            f'<li><img{small} src="{source}" alt="{truth}, taken for {answer}"> is {truth}<br>'
            f'<span class="said">said {answer}, {mistake.probability:.0%}</span>{name}</li>'
        )
    words = "The mistakes that it was surest of. Look at them: some may be labelled wrongly."
    return f'<h3>Worst mistakes</h3><p class="note">{words}</p><ul class="mistakes">{"".join(items)}</ul>'
