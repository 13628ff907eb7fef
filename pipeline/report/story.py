"""What was asked, what was found and what it was compared with, in words that need no knowledge of the field."""

from pipeline.gate.units import amount
from pipeline.ranking.proportion import wilson_interval
from pipeline.report.data import RandomBaseline, ReportData
from pipeline.report.html import section, text

_LIMITS = {
    "latency_ms": "answer in at most {}",
    "macs": "take at most {}",
    "params": "have at most {}",
    "size_mb": "weigh at most {}",
    "accuracy": "be right in at least {} of pictures",
}


def story_section(data: ReportData) -> str:
    """The paragraphs; names of data and devices are shown as text."""
    paragraphs = [
        ("Asked", _asked(data)),
        ("Found", _found(data)),
        ("Compared", _compared(data)),
        ("Mind", _mind(data)),
    ]
    body = "".join(f"<p><strong>{head}.</strong> {text(words)}</p>" for head, words in paragraphs if words)
    return section("story", "In short", f'<div class="story">{body}</div>')


def accuracy_interval(data: ReportData) -> tuple[float, float] | None:
    """In what share of other pictures of the same kind the winner is right, with 95 % confidence."""
    if data.images is None or not data.images.test:
        return None
    return wilson_interval(round(data.winner.accuracy * data.images.test), data.images.test)


def _asked(data: ReportData) -> str:
    classes = "" if data.images is None else f" into {data.images.classes} classes"
    limits = [
        _LIMITS[name].format(f"{100 * value:.4g} %" if name == "accuracy" else amount(name, value))
        for name, value in data.budget.items()
        if name in _LIMITS
    ]
    limited = f" It must {_listed(limits)}." if limits else " No limit was set."
    return f"A network that sorts pictures like those of {data.data}{classes}, for {data.device}.{limited}"


def _listed(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def _found(data: ReportData) -> str:
    winner, interval = data.winner, accuracy_interval(data)
    words = f"A network that is right in {winner.accuracy:.1%} of"
    if data.images is not None:
        words += f" {data.images.test:,}"
    words += " test pictures, which nothing had looked at before it was chosen"
    if interval is not None:
        words += f" (of other pictures of this kind: {interval[0]:.1%} to {interval[1]:.1%}, with 95 % confidence)"
    if winner.measured_ms is not None:
        return f"{words}. One picture took {winner.measured_ms:.3g} ms, measured on the device."
    return (
        f"{words}. One picture should take {winner.predicted_ms:.3g} ms, by the device's latency table; not measured."
    )


def _compared(data: ReportData) -> str:
    said = []
    if data.baseline is not None:
        said.append(_against_random(data.baseline))
    else:
        said.append("It was not compared with random networks, so that the search's own merit is not known.")
    if (published := data.published) is not None:
        points, low, high = (100 * share for share in (published.improvement, published.low, published.high))
        verdict = "better" if low > 0 else "worse" if high < 0 else "not shown to be better or worse"
        said.append(
            f"Against {published.name}, a published network scaled to the same limits and trained the same way"
            f" ({published.accuracy:.1%}), it is {verdict}: {points:+.1f} points ({low:+.1f} to {high:+.1f})."
        )
        if published.linear_accuracy is not None:
            said.append(
                f"Using that network as it is, with a new last layer only, gives {published.linear_accuracy:.1%}."
            )
    return " ".join(said)


def _against_random(baseline: RandomBaseline) -> str:
    mean = sum(baseline.accuracies) / len(baseline.accuracies)
    words = (
        f"{len(baseline.accuracies)} networks drawn at random inside the same limits and trained the same way reach"
        f" {mean:.1%} on average."
    )
    if baseline.compared_accuracy is not None:
        words += (
            f" After as long a training the one found had {baseline.compared_accuracy:.1%}; it was then trained on."
        )
    low, high = baseline.improvement_low, baseline.improvement_high
    span = f"{baseline.improvement_percent:+.1f} % relative, {low:+.1f} to {high:+.1f} with 95 % confidence"
    if low > 0:
        return f"{words} The search was worth it: {span}."
    if high < 0:
        return f"{words} The winner is worse than these: {span}."
    return f"{words} That the search found something better is not shown ({span}): it may be chance."


def _mind(data: ReportData) -> str:
    words = ["These figures hold for pictures like those that were given; other cameras, places or seasons may differ."]
    if data.table_error is not None:
        words.append(
            f"The latency table was {data.table_error.mean_percent:.1f} % off on average, on"
            f" {data.table_error.networks} networks that it was not made from."
        )
    failed = {check.level for check in data.checks if check.status == "failed"}
    if failed:
        words.append("A limit was missed: see the gate." if "error" in failed else "The gate has a warning: see there.")
    return " ".join(words)
