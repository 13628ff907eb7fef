"""A gate's report for people and machines: pure functions from one `Report` to text."""

from typing import TYPE_CHECKING, Final
from xml.etree import ElementTree

from pipeline import foreign
from pipeline.gate.results import CheckResult, Report, Status, count
from pipeline.gate.units import amount, change

if TYPE_CHECKING:
    from rich.console import Group

_WORDS: Final[dict[Status, str]] = {"passed": "passed", "failed": "FAILED", "undecided": "cannot decide"}
_STYLES: Final[dict[Status, str]] = {"passed": "green", "failed": "bold red", "undecided": "bold yellow"}
_SIGNS: Final[dict[Status, str]] = {"passed": "✅", "failed": "❌", "undecided": "❔"}


def verdict(report: Report) -> str:
    """One sentence."""
    counts = count(report.results)
    warnings = sum(1 for result in report.results if result.level == "warn" and not result.passed)
    parts = [f"{number} {_WORDS[status].lower()}" for status, number in counts.items() if number]
    told = f" ({warnings} of them only warn)" if warnings else ""
    return f"{'passed' if report.passed else 'not passed'}: {', '.join(parts)}{told}"


def terminal(report: Report) -> "Group":
    """The verdict, a table for each model and the notes, for `rich`."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    parts: list[Text | Table] = [Text(f"check {verdict(report)}", style="bold")]
    widest = min(36, max((len(_title(result)) for result in report.results), default=0))
    for model in dict.fromkeys(result.model for result in report.results):
        table = Table(box=None, show_header=False, padding=(0, 2, 0, 0), expand=True)
        table.add_column(width=max(len(_word(result)) for result in report.results))
        table.add_column(width=widest, overflow="fold")
        table.add_column(ratio=1, overflow="fold")
        for result in report.results:
            if result.model == model:
                word = Text(_word(result), style=_STYLES[result.status])
                title, message = (Text(foreign.terminal(text)) for text in (_title(result), result.message))
                table.add_row(word, title, message)
        parts += [Text(f"\n{foreign.terminal(model)}", style="bold"), table]
    if report.notes:
        parts += [Text(), *(Text(f"note: {foreign.terminal(note)}") for note in report.notes)]
    return Group(*parts)


def junit(report: Report) -> str:
    """JUnit XML: one case per result. A failure blocks; a warning is a passed case that says so."""
    suite = ElementTree.Element("testsuite", name="pocketnas check", tests=str(len(report.results)))
    failures = errors = 0
    for result in report.results:
        names = {"classname": foreign.xml(result.model), "name": foreign.xml(_title(result)), "time": "0"}
        case = ElementTree.SubElement(suite, "testcase", names)
        if result.blocks and result.status == "failed":
            failures += 1
            ElementTree.SubElement(case, "failure", message=foreign.xml(result.message), type=foreign.xml(result.name))
        elif result.blocks:
            errors += 1
            ElementTree.SubElement(case, "error", message=foreign.xml(result.message), type="cannot decide")
        output = ElementTree.SubElement(case, "system-out")
        output.text = foreign.xml(f"{_word(result)}: {result.message} [{result.source}]")
    suite.set("failures", str(failures))
    suite.set("errors", str(errors))
    root = ElementTree.Element("testsuites")
    root.append(suite)
    ElementTree.indent(root, " ")
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def markdown(report: Report) -> str:
    """For a pull-request comment or a step summary."""
    lines = [f"### {'✅' if report.passed else '❌'} pocketnas check {verdict(report)}", ""]
    lines += ["| | model | check | limit | found | |", "|---|---|---|---:|---:|---|"]
    for result in report.results:
        place = f" on {where(result)}" if where(result) else ""
        cells = (
            _SIGNS[result.status] if result.passed or result.level == "error" else "⚠️",
            result.model,
            f"{result.name}{place}",
            f"{result.operator} {_figure(result, result.expected)}",
            "?" if result.actual is None else _figure(result, result.actual, result.expected),
            f"{result.message} ({result.source})",
        )
        lines.append(f"| {' | '.join(foreign.markdown(cell) for cell in cells)} |")
    if report.notes:
        lines += ["", *(f"- {foreign.markdown(note)}" for note in report.notes)]
    return "\n".join(lines) + "\n"


def annotations(report: Report) -> str:
    """GitHub workflow commands, one per result that did not pass."""
    lines = []
    for result in report.results:
        if not result.passed:
            kind = "error" if result.level == "error" else "warning"
            title = foreign.workflow(f"{result.model}: {_title(result)}", property_value=True)
            lines.append(f"::{kind} title={title}::{foreign.workflow(result.message)}")
    return "".join(f"{line}\n" for line in lines)


def where(result: CheckResult) -> str:
    """The device, and how the figure is known, in a few words."""
    if not result.device:
        return ""
    words = result.source.split()
    return f"{result.device}, {' '.join(words[: 2 if words[0] == 'not' else 1])}"


def _word(result: CheckResult) -> str:
    word = _WORDS[result.status]
    return f"{word.lower()} (warns)" if result.level == "warn" and not result.passed else word


def _title(result: CheckResult) -> str:
    return f"{result.name} ({where(result)})" if where(result) else result.name


def _figure(result: CheckResult, value: float, beside: float | None = None) -> str:
    if result.name.endswith("vs baseline"):
        return change(value, signed=True)
    return amount(result.name, value, beside)
