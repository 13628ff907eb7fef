"""Spaces as TOML files: the presets beside this module, and those a user writes."""

import difflib
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from latency_tables.blocks import Activation, Padding
from latency_tables.documents import parse_toml, read_toml, validated
from pipeline.errors import PipelineError
from pipeline.spaces.architecture import Architecture, Op
from pipeline.spaces.scaling import Scaling, scaled
from pipeline.spaces.space import BATCHNORM_EPS, SearchSpace
from pipeline.spaces.stage import Head, SpaceError, SqueezeOf, Stage, Stem

# Bounds far above any network that a phone runs, so that a slip of the keyboard is refused before it is built.
Channels = Annotated[int, Field(ge=1, le=65_536)]
Size = Annotated[int, Field(ge=1, le=4_096)]
Small = Annotated[int, Field(ge=1, le=64)]  # kernels, strides, depths
Ratio = Annotated[float, Field(ge=1, le=64)]
Share = Annotated[float, Field(ge=0, le=1)]
Classes = Annotated[int, Field(ge=2, le=1_000_000)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class _Stem(_Model):
    channels: Channels
    kernel: Small = 3
    stride: Small = 2
    activation: Activation = "hswish"


class _Head(_Model):
    channels: Channels
    mix: Annotated[int, Field(ge=0, le=65_536)] = 0
    hidden: Annotated[int, Field(ge=0, le=65_536)] = 0
    activation: Activation = "hswish"


class _Stage(_Model):
    """One stage; what it leaves out comes from `[defaults]`."""

    widths: Annotated[list[Channels], Field(min_length=1)] | None = None
    depths: Annotated[list[Small], Field(min_length=1)] | None = None
    stride: Small | None = None
    activation: Activation | None = None
    squeeze: SqueezeOf | None = None
    kernels: Annotated[list[Small], Field(min_length=1)] | None = None
    expands: Annotated[list[Ratio], Field(min_length=1)] | None = None
    squeezes: Annotated[list[Share], Field(min_length=1)] | None = None
    ops: list[str] | None = None
    first_ops: list[str] | None = None
    slots: list[list[str]] | None = None

    def build(self, defaults: "_Stage", padding: Padding, number: int) -> Stage:
        def value(key: str) -> Any:
            own = getattr(self, key)
            found = getattr(defaults, key) if own is None else own
            if found is None:
                raise SpaceError(f"stage {number} needs {key!r}, in its own table or in [defaults]")
            return found

        depths = sorted(value("depths"))
        try:
            return Stage(
                widths=tuple(sorted(value("widths"))),
                depths=tuple(depths),
                slots=self._slots(defaults, depths[-1], value),
                stride=value("stride"),
                activation=value("activation"),
                squeeze=self.squeeze or defaults.squeeze or "none",
                padding=padding,
            )
        except PipelineError as error:
            raise SpaceError(f"stage {number}: {error}") from None

    def _slots(self, defaults: "_Stage", layers: int, value: Any) -> tuple[tuple[Op, ...], ...]:
        if self.slots is not None:
            return tuple(_ops(slot) for slot in self.slots)
        own_product = any(value is not None for value in (self.kernels, self.expands, self.squeezes))
        if self.ops is not None or (defaults.ops is not None and not own_product):
            later = _ops(value("ops"))
        else:
            kernels, expands = value("kernels"), value("expands")
            squeezes = self.squeezes or defaults.squeezes or [0.0]
            squeezed = [f"s{share:g}" if share else "" for share in squeezes]
            later = _ops([f"k{k}e{e:g}{own}" for k in kernels for e in expands for own in squeezed])
        named_first = self.first_ops if self.first_ops is not None else defaults.first_ops
        first = later if named_first is None else _ops(named_first)
        return (first, *([later] * (layers - 1)))


class _Scaled(_Model):
    """A preset made wider, deeper and larger."""

    space: str
    resolution: Size
    width: Annotated[float, Field(gt=0, le=16)] = 1.0
    depth: Annotated[float, Field(gt=0, le=16)] = 1.0
    fix_ends: bool = False

    def build(self, name: str, resolutions: list[int]) -> SearchSpace:
        if self.space not in preset_names():
            raise SpaceError(f"scaled_from.space {self.space!r} is no preset; known are {', '.join(preset_names())}")
        return scaled(load_space(self.space), name, Scaling(**self.model_dump(exclude={"space"})), resolutions)


class _ScaledSpace(_Model):
    schema_version: Literal[1]
    name: str
    classes: Classes = 1000
    resolutions: Annotated[list[Size], Field(min_length=1)]
    scaled_from: _Scaled

    def build(self) -> SearchSpace:
        return self.scaled_from.build(self.name, self.resolutions).with_classes(self.classes)


class _Space(_Model):
    schema_version: Literal[1]
    name: str
    classes: Classes = 1000
    resolutions: Annotated[list[Size], Field(min_length=1)]
    stem: _Stem
    head: _Head
    base: str | None = None
    padding: Padding = "symmetric"
    batchnorm_eps: Annotated[float, Field(gt=0, lt=1)] = BATCHNORM_EPS
    defaults: _Stage = _Stage()
    stages: Annotated[list[_Stage], Field(min_length=1, max_length=64)]

    def build(self) -> SearchSpace:
        space = SearchSpace(
            name=self.name,
            classes=self.classes,
            resolutions=tuple(sorted(set(self.resolutions))),
            stem=Stem(**self.stem.model_dump(), padding=self.padding),
            stages=tuple(stage.build(self.defaults, self.padding, n) for n, stage in enumerate(self.stages, 1)),
            head=Head(**self.head.model_dump()),
            batchnorm_eps=self.batchnorm_eps,
        )
        if self.base is None:
            return space
        base = Architecture.parse(self.base)
        space.check(base)
        return space.with_base(base)


def preset_names() -> tuple[str, ...]:
    """The names of the spaces that come with pocketnas."""
    files = resources.files("pipeline.spaces").joinpath("presets").iterdir()
    return tuple(sorted(file.name.removesuffix(".toml") for file in files if file.name.endswith(".toml")))


def load_space(name: str | Path) -> SearchSpace:
    """The preset of that name, or the space in the TOML file at that path.

    Raises SpaceError naming the key and the value that is wrong, or the presets where there is no such file.
    """
    if str(name) in preset_names():
        file = resources.files("pipeline.spaces").joinpath("presets", f"{name}.toml")
        return parse_space(file.read_text(), str(name))
    path = Path(name)
    if not path.is_file():
        close = difflib.get_close_matches(str(name), preset_names(), n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise SpaceError(
            f"no space {str(name)!r}: it is neither a TOML file nor a preset ({', '.join(preset_names())}){hint}"
        )
    return space_from_dict(read_toml(path, SpaceError), str(path))


def parse_space(text: str, where: str) -> SearchSpace:
    """The space that a TOML text describes; `where` names it in errors."""
    return space_from_dict(parse_toml(text, where, SpaceError), where)


def space_from_dict(document: dict[str, Any], where: str) -> SearchSpace:
    """The space that a parsed TOML or JSON document describes."""
    form: type[_ScaledSpace | _Space] = _ScaledSpace if "scaled_from" in document else _Space
    read = validated(document, form, where, SpaceError)
    try:
        return read.build()
    except PipelineError as error:
        raise SpaceError(f"{where}: {error}") from None


def space_to_dict(space: SearchSpace) -> dict[str, Any]:
    """A document that `space_from_dict` reads back to an equal space; every layer's ops are spelled out."""
    stages = [
        {
            "widths": list(stage.widths),
            "depths": list(stage.depths),
            "stride": stage.stride,
            "activation": stage.activation,
            "squeeze": stage.squeeze,
            "slots": [[str(op) for op in slot] for slot in stage.slots],
        }
        for stage in space.stages
    ]
    stem, head = space.stem, space.head
    return {
        "schema_version": 1,
        "name": space.name,
        "classes": space.classes,
        "resolutions": list(space.resolutions),
        "stem": {
            "channels": stem.channels,
            "kernel": stem.kernel,
            "stride": stem.stride,
            "activation": stem.activation,
        },
        "head": {
            "channels": head.channels,
            "mix": head.mix,
            "activation": head.activation,
            **({"hidden": head.hidden} if head.hidden else {}),
        },
        **({"base": str(space.base)} if space.base else {}),
        # Only where they are not the default: spaces are known by the hash of this document.
        **({"padding": space.padding} if space.padding != "symmetric" else {}),
        **({"batchnorm_eps": space.batchnorm_eps} if space.batchnorm_eps != BATCHNORM_EPS else {}),
        "stages": stages,
    }


def _ops(texts: list[str]) -> tuple[Op, ...]:
    return tuple(sorted({Op.parse(text) for text in texts}))
