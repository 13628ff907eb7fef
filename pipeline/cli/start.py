"""The command `pocketnas` from its first moment to its last: signals end it with one line and exit code 2."""

import contextlib
import signal
import sys
from types import FrameType
from typing import Final

from pipeline.process import before_torch, first_process

ON_INTERRUPT: Final = "interrupted; the same command continues where this one stopped"
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


class Interrupted(KeyboardInterrupt):
    """Ctrl-C, or what a container, a service manager or a batch system sends.

    A class of its own, because of a plain KeyboardInterrupt Python remembers that it passed through `exec` of a
    string, as where a dataclass is made: it then ends by SIGINT, whatever exit code was asked for.
    """


def main() -> None:
    """Run the command line and leave with its exit code."""
    before_torch()
    for sign in _SIGNALS:
        if sign is signal.SIGTERM or signal.getsignal(sign) is signal.default_int_handler:  # else it is ignored: nohup
            signal.signal(sign, _interrupt)
    try:
        from pipeline.cli.app import run_command  # takes a while, in which signals come, too
        from pipeline.cli.scratch import temporary_files

        with temporary_files():
            code = run_command(sys.argv[1:])
        _listen_no_more()
    except Interrupted:
        _listen_no_more()
        with contextlib.suppress(OSError):
            if first_process():
                print(f"pocketnas: {ON_INTERRUPT}", file=sys.stderr, flush=True)
        code = 2
    sys.exit(code)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise Interrupted


def _listen_no_more() -> None:
    """The exit code is known: what Python does before it leaves is not disturbed any more."""
    for sign in _SIGNALS:
        signal.signal(sign, signal.SIG_IGN)
