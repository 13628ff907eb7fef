"""What lies on the disk: whole files, not pointers to them, and nothing from outside a model's folder."""

from pathlib import Path
from typing import Final

from pipeline.modelfiles.errors import ModelFileError

_POINTER: Final = b"version https://git-lfs"


def read_file(path: Path, largest: int | None = None) -> bytes:
    """The bytes of a model file. ModelFileError for a Git LFS pointer and for what is no plain file."""
    require_file(path)
    if largest is not None and path.stat().st_size > largest:
        raise ModelFileError(f"{path} has {path.stat().st_size / 1e6:,.0f} MB; at most {largest / 1e6:,.0f} are read")
    return path.read_bytes()


def require_file(path: Path) -> None:
    """ModelFileError unless `path` is a plain file with content of its own."""
    if not path.is_file():
        kind = "is missing" if not path.exists() else "is no plain file"
        raise ModelFileError(f"{path} {kind}")
    with path.open("rb") as stream:
        if stream.read(len(_POINTER)) == _POINTER:
            raise ModelFileError(
                f"{path} is a Git LFS pointer, not the file itself; fetch it with: "
                f"git lfs pull --include '{path.name}' (in a workflow: actions/checkout with lfs: true)"
            )


def beside(folder: Path, name: str) -> Path:
    """The file called `name` in `folder`, which a model there refers to.

    Raises ModelFileError where it is missing, a Git LFS pointer, or outside the folder, be it by a link.
    """
    file = folder / name
    if Path(name).is_absolute() or not file.resolve().is_relative_to(folder.resolve()):
        raise ModelFileError(f"the model refers to {name!r}, which is outside its folder {folder}; move the file there")
    if not file.exists():
        raise ModelFileError(f"weights file {file} is missing; it belongs to the model beside it")
    require_file(file)
    return file
