"""What names mean: which files are pictures, which folders and files are splits, what is no data at all."""

import re
from typing import Final, Literal

Split = Literal["train", "search", "test"]
SPLITS: Final[tuple[Split, ...]] = ("train", "search", "test")
TEST_NAMES: Final = "test_names.json"  # among prepared images: what each test image is called

SPLIT_WORDS: Final[dict[Split, tuple[str, ...]]] = {
    "train": ("train", "training"),
    "search": ("val", "valid", "validation", "dev", "development"),
    "test": ("test", "testing", "eval", "evaluation", "holdout"),
}
_SPLIT_OF: Final[dict[str, Split]] = {word: split for split, words in SPLIT_WORDS.items() for word in words}

HEIF: Final = frozenset({".heic", ".heif", ".hif"})
PICTURES: Final = HEIF | {
    *(".avif", ".bmp", ".dib", ".gif", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".pnm"),
    *(".ppm", ".tif", ".tiff", ".webp"),
}
# Pictures to a person, but nothing here reads them: a class of them must not vanish.
OTHER_PICTURES: Final = frozenset(
    {".arw", ".cr2", ".cr3", ".dcm", ".dng", ".exr", ".ico", ".jxl", ".mp4", ".mov", ".nef", ".npy", ".npz"}
    | {".orf", ".psd", ".raf", ".raw", ".svg", ".tga"}
)
ARCHIVES: Final = frozenset({".7z", ".bz2", ".gz", ".rar", ".tar", ".tgz", ".xz", ".zip", ".zst"})
_NO_DATA: Final = frozenset({"__MACOSX", "Thumbs.db", "desktop.ini"})
METADATA: Final = ("metadata.csv", "metadata.jsonl", "metadata.parquet")


def split_of(name: str) -> Split | None:
    """The split that a whole name stands for, without regard to case: `Training_Set` is training, `x-test` none."""
    word = re.sub(r"[-_ ]", "", name.casefold())
    return _SPLIT_OF.get(word) or _SPLIT_OF.get(word.removesuffix("set"))


def splits_in(name: str) -> set[Split]:
    """The splits whose words stand in a name of several: `cifar10_test-0` has test."""
    words = (_SPLIT_OF.get(word) for word in re.split(r"[^a-z]+", name.casefold()))
    return {split for split in words if split is not None}


def is_hidden(parts: tuple[str, ...]) -> bool:
    """Whether a path inside the data is an operating system's or a tool's own, and no data."""
    return any(part[:1] == "." or part in _NO_DATA for part in parts)


def suffix_of(name: str) -> str:
    """The suffix in lower case, '' without one."""
    file = name.rpartition("/")[2]
    dot = file.rfind(".")
    return file[dot:].lower() if 0 < dot < len(file) - 1 else ""


def printable(name: str) -> str:
    """A name that can be written as UTF-8; bytes that are none become `\\xff`."""
    return name if name.isascii() else name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def accepted_splits() -> str:
    """The names of splits, for messages."""
    return "; ".join(f"{split}: {', '.join(words)}" for split, words in SPLIT_WORDS.items())
