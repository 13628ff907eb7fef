"""What executing a model file counted, and that it could not be executed."""

from collections import Counter
from dataclasses import dataclass, field


class NotExecutable(Exception):
    """Nothing here can run the file; the message says what is missing."""


@dataclass
class Execution:
    """MACs by operator of one execution, and what executed it."""

    macs: Counter[str] = field(default_factory=Counter)
    how: str = ""
