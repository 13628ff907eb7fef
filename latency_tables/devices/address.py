"""Addresses of devices in what is told, and in files that others can change."""

import re
from typing import Final

from latency_tables.errors import TableError

# A name or an address; nothing that ssh or adb would take for an option.
_ADDRESS: Final = re.compile(r"[A-Za-z0-9_\[][A-Za-z0-9_.:@\[\]-]*")

_OPTIONS: Final = ("backend", "binary", "compute_unit", "config", "delegate", "library", "python", "runtime", "units")


def shown(device: str) -> str:
    """An address as it may be told: without a password, also where it stands as an option that no device has."""
    address, mark, query = re.sub(r"(://[^:/@]*):.*@", r"\1@", device).partition("?")
    return address + mark + "&".join(map(_option, query.split("&") if query else ()))


def _option(text: str) -> str:
    name, equals, _ = text.partition("=")
    return text if name in _OPTIONS or not equals else f"{name}=…"


def require_plain(device: str, where: str, error: type[Exception] = TableError) -> None:
    """`error` for an address that could run a program here: files that others change may not name options."""
    scheme, _, address = device.partition("://")
    if not scheme.replace("+", "").isalnum() or (address and not _ADDRESS.fullmatch(address)):
        raise error(
            f"{where} names {shown(device)!r}; accepted in a file are host, host+litert, ssh://user@board:port and"
            " adb://serial. Options (behind ?) are for the command line: --device"
        )
