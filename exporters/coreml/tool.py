"""coremltools, imported without its chatter."""

from typing import Any

from exporters.quiet import quiet


def import_coremltools() -> Any:
    """The module, without the warnings that it prints on import where it cannot predict."""
    with quiet():
        import coremltools

        return coremltools
