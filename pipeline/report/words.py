"""What each plot shows, in a sentence with its numbers: for people who cannot see it, and those who would guess."""

from statistics import fmean

from pipeline.report.data import Point, RandomBaseline, ReportData, front


def front_words(data: ReportData) -> str:
    """Of the accuracy and latency plot."""
    judged = tuple(Point(t.name, t.latency_ms, t.accuracy) for t in data.tried if t.accuracy is not None)
    if not judged and not data.random_points:
        return "No network was judged."
    words = f"{len(judged)} networks judged with inherited weights, {len(front(judged))} of them beaten by none."
    if data.random_points:
        words += (
            f" {len(data.random_points)} random networks inside the budget were trained {_as_long(data.baseline)}; "
            "compare the winner with these."
        )
    return words


def _as_long(baseline: RandomBaseline | None) -> str:
    if baseline is None or baseline.compared_accuracy is None:
        return "to the end, as the winner was"
    return (
        f"for as long as the winner until it had {baseline.compared_accuracy:.1%}, from where it alone was trained on"
    )


def search_words(data: ReportData) -> str:
    """Of the plot over time."""
    judged = [trial for trial in data.tried if trial.accuracy is not None]
    if not judged:
        return "The search tried nothing."
    best = max(judged, key=lambda trial: trial.accuracy or 0.0)
    infeasible = len(data.tried) - len(judged)
    words = f"The best of {len(judged)} judged networks was number {best.number}."
    return words + (f" {infeasible} more were over the budget: known without judging them." if infeasible else "")


def blocks_words(data: ReportData) -> str:
    """Of the block latencies."""
    if not data.blocks:
        return "There is no latency per block."
    total = sum(block.ms for block in data.blocks) + data.fixed_ms
    costly = sorted(data.blocks, key=lambda block: -block.ms)[:3]
    share = sum(block.ms for block in costly) / total if total else 0.0
    return (
        f"The winner's predicted {total:.4g} ms by block, in the order of execution (size of the image, channels). "
        f"The three costliest of {len(data.blocks)} blocks take {share:.0%}."
    )


def pairs_words(data: ReportData) -> str:
    """Of predictions and measurements."""
    error = data.table_error
    held_out = (
        ""
        if error is None
        else (
            f" On {error.networks} other networks that the table was not made from, its mean error was "
            f"{error.mean_percent:.1f} %, and 95 % took {error.low:.2f} to {error.high:.2f} times what was predicted."
        )
    )
    return _pairs_words(data) + held_out


def _pairs_words(data: ReportData) -> str:
    if not data.pairs:
        return "No network was measured to test the table."
    errors = [abs(pair.predicted_ms - pair.measured_ms) / pair.measured_ms for pair in data.pairs]
    if len(errors) == 1:
        return f"The {data.pairs[0].name} was predicted {errors[0]:.1%} off."
    near = sum(error <= 0.1 for error in errors) / len(errors)
    return (
        f"{len(errors)} whole networks that the table was not made from: {fmean(errors):.1%} mean error, "
        f"{near:.0%} within 10 %, worst {max(errors):.1%}."
    )


def ranks_words(data: ReportData) -> str:
    """Of the rank evidence."""
    if not data.ranks:
        return "No ranking was tested: too few networks were trained to the end."
    return (
        "How far ordering networks by each of these agrees with training them (1: same order, 0: unrelated). "
        "A search's accuracy is worth its time where it beats counting MACs and parameters."
    )


def baseline_words(baseline: RandomBaseline) -> str:
    """Of the comparison with random networks."""
    low, high = baseline.improvement_low, baseline.improvement_high
    mean = fmean(baseline.accuracies)
    verdict = "better" if low > 0 else "WORSE than random networks" if high < 0 else "no difference shown"
    return f"{len(baseline.accuracies)} random networks reach {mean:.2%}; 95 %: {low:+.2f} to {high:+.2f} %; {verdict}"
