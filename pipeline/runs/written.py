"""A proposed configuration as a commented TOML file."""

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from pipeline import foreign
from pipeline.data.grouping import Grouping
from pipeline.runs.config import ConfigError
from pipeline.runs.proposal import Proposal

_MOST_CLASSES: Final = 12  # that the first lines name
_PATHS: Final = (("data", "path"), ("space", "name"), ("train", "start"), ("device", "table"))
_LIMITS: Final = ("latency_ms", "macs", "params", "size_mb")


def configuration_text(proposal: Proposal, out: Path) -> str:
    """The file for `out`: what was chosen as keys, each with why, and what may be wanted as comments.

    Paths below the file's folder are written relative to it. Raises ConfigError for a path that TOML cannot hold.
    """
    document = _beside(proposal.document, out.resolve().parent)
    return "\n".join(_lines(proposal, document, out)) + "\n"


def toml_string(text: str) -> str:
    """`text` as a string of TOML. Raises ConfigError for a name that is no UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ConfigError(f"{text!r} is no UTF-8, which TOML must be; give the folder another name") from None
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _lines(proposal: Proposal, document: Mapping[str, Any], out: Path) -> Iterator[str]:
    chosen = proposal.chosen
    yield _comment(f"pocketnas run {out.name} --out runs/{out.stem}")
    yield _comment("Written by 'pocketnas init'. docs/reference.md has every key; those left out have its defaults.")
    yield from map(_comment, _pictures(proposal.used))
    yield f"seed = {document.get('seed', 0)}   # decides every random choice"
    yield "\n[data]"
    yield from _data(proposal, document["data"])
    yield "\n[space]"
    yield f"name = {toml_string(document['space']['name'])}   # pocketnas space NAME shows what is in it"
    if chosen.pixels:
        sizes = ", ".join(map(str, chosen.pixels))
        yield f"resolutions = [{sizes}]   # what the pictures, the budget and this machine's speed allow"
    yield "\n[train]"
    yield _comment(chosen.start.removeprefix("start: "))
    yield f"start = {toml_string(document['train']['start'])}"
    key = "minutes" if "minutes" in document["train"] else "cpu_minutes"
    told = "of the whole run" if key == "minutes" else "of CPU time for the whole run; minutes = 10 is wall time"
    yield f"{key} = {document['train'][key]:g}   # {told}"
    yield "\n[device]"
    yield from _device(document["device"])
    yield "\n[budget]"
    yield from _budget(proposal, document.get("budget", {}))


def _pictures(used: Mapping[str, Mapping[str, int]]) -> Iterator[str]:
    names = list(used["train"])
    totals = {name: sum(used[split].get(name, 0) for split in used) for name in names}
    shown = ", ".join(f"{name} {totals[name]:,}" for name in names[:_MOST_CLASSES])
    more = "" if len(names) <= _MOST_CLASSES else f" and {len(names) - _MOST_CLASSES} more"
    yield f"{sum(totals.values()):,} pictures in {len(names)} classes: {shown}{more}"


def _data(proposal: Proposal, data: Mapping[str, Any]) -> Iterator[str]:
    yield f"path = {toml_string(data['path'])}"
    if "group" in data:
        yield f"group = {toml_string(data['group'])}   # pictures of one group stay in one split"
    else:
        yield _comment("Pictures of one person, plant or machine belong in one split, or the test flatters.")
        found = proposal.grouping
        if found is None:
            yield _comment("group = '^([^_]+)_'   the part of the file name that names it, or a column of a table")
        else:
            yield f"# group = '{found.pattern}'   # {_shown(_groups(found))}"
    if data.get("skip_broken"):
        yield "skip_broken = true   # some cannot be read; pocketnas init named them"
    yield "# flip = false   # where left and right mean something: digits, signs, text"


def _groups(found: Grouping) -> str:
    return f"{found.groups:,} groups, such as {found.largest!r} with {found.size:,} pictures"


def _device(device: Mapping[str, Any]) -> Iterator[str]:
    yield f"name = {toml_string(device.get('name', 'host'))}   # or ssh://user@board, adb://serial"
    if "table" in device:
        yield f"table = {toml_string(device['table'])}   # measured before; the device need not be here"
    else:
        yield '# table = "phone.json"   # measured before, by pocketnas profile: the device need not be here'
    yield f"effort = {toml_string(device['effort'])}   # full: ten times the time, a fraction of the error"
    yield f"networks = {device['networks']}   # whole networks that calibrate the table, and as many that test it"


def _budget(proposal: Proposal, budget: Mapping[str, Any]) -> Iterator[str]:
    form = {"macs": 1e6, "params": 1e6}
    for name in _LIMITS:
        if name in budget:
            value = budget[name]
            yield f"{name} = {toml_string(value) if isinstance(value, str) else format(value, 'g')}"
            continue
        if name not in proposal.costs:
            yield f"# {name} = 20   # milliseconds for one image on the device"
            continue
        least, middle, most = (value / form.get(name, 1) for value in proposal.costs[name])
        unit = "M" if name in form else ""
        value = f'"{middle:.3g}M"' if unit else f"{middle:.3g}"
        yield f"# {name} = {value}   # random networks here: {least:.3g}{unit} to {most:.3g}{unit}"


def _beside(document: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """The document with paths that lie below `folder` relative to it."""
    changed = {table: dict(keys) if isinstance(keys, Mapping) else keys for table, keys in document.items()}
    for table, key in _PATHS:
        path = changed.get(table, {}).get(key)
        if isinstance(path, str) and Path(path).is_absolute() and Path(path).is_relative_to(folder):
            relative = os.path.relpath(path, folder)
            changed[table][key] = relative
    return changed


def _comment(text: str) -> str:
    return f"# {_shown(text)}"


def _shown(text: str) -> str:
    """Names of folders and files are strangers' text: in one line, without control characters."""
    return foreign.visible(text)
