"""What `pocketnas compress` writes beside its files."""

from pipeline.runs.documents.base import Document, Share


class CompressedFile(Document):
    """`compressed.json`: a winner with fewer channels; pairs are before and after. `accuracy` is on the test split."""

    limits: dict[str, float]
    macs: tuple[int, int]
    params: tuple[int, int]
    accuracy: tuple[Share, Share]
    search_accuracy: Share
    middle_channels: list[tuple[int, int]]
    exports: list[str]
