"""Where a command leaves its temporary files."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

from exporters.files import scratch_folder, temporary_files_in


@contextmanager
def temporary_files() -> Iterator[None]:
    """Those of this process, of its libraries and of the programs that it starts lie in one folder meanwhile.

    It is gone at the end; what a killed command left goes with the next command, whichever that is.
    """
    with ExitStack() as stack:
        # Where there is no such folder, or no room: whoever needs a temporary file tells.
        with suppress(OSError):
            scratch = stack.enter_context(scratch_folder())
            stack.enter_context(temporary_files_in(scratch / "files"))
        yield
