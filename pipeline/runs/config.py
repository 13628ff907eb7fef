"""A run's configuration: one TOML file in which every key has a default but `[data] path`."""

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from latency_tables.table import Precision as DevicePrecision
from pipeline.errors import PipelineError
from pipeline.search.settings import Method, Relaxing

Fraction = Annotated[float, Field(gt=0, lt=0.5)]
Count = Annotated[int, Field(ge=1)]
Weight = Annotated[float, Field(ge=0, le=100)]
# Keys by table that say how a run is worked on, not what is made: they may change from call to call.
HOW_ONLY: Final[Mapping[str, tuple[str, ...]]] = {"search": ("workers", "storage"), "train": ("device",)}


# The file that the gate reads, by what networks are computed in on the device.
ONNX_FILES: Final[Mapping[DevicePrecision, str]] = {"fp32": "onnx", "fp16": "onnx-fp16", "int8": "onnx-int8"}


class ConfigError(PipelineError):
    """A configuration that cannot be used; the message names the table, the key and what is accepted."""


def _not_all_zero(weights: list[float]) -> list[float]:
    if not any(weights):
        raise ValueError("at least one weight must be above 0")
    return weights


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class DataConfig(_Table):
    path: str = Field(description="Folder of class folders, Parquet files, 'owner/name' of the hub, or 'digits'")
    image_column: str = Field("image", description="Parquet and hub: the column of images")
    label_column: str = Field("label", description="Parquet, hub and metadata.csv: the column of labels")
    group: str | None = Field(None, description="Column, or pattern on the file name, of what must stay in one split")
    search_fraction: Fraction = Field(0.15, description="Share of images that networks of the search are evaluated on")
    test_fraction: Fraction = Field(0.2, description="Share kept for the final test, where the data brings none")
    limit: Count | None = Field(None, description="At most this many images per split, for a quick look")
    decoded_gb: Annotated[float, Field(ge=0)] = Field(
        8.0, description="Sets that are larger when decoded stay encoded; processes decode them while networks train"
    )
    skip_broken: bool = Field(False, description="Leave out pictures that cannot be read, instead of stopping")
    flip: bool = Field(True, description="Mirror training images at random (off for digits and signs)")
    crop: Annotated[float, Field(ge=0, le=0.5)] = Field(
        0.125, description="Shift training images at random by up to this share of their size"
    )
    crop_area: Annotated[float, Field(gt=0, le=1)] = Field(
        1.0, description="Instead of shifts: random crops of at least this share of an image, scaled; 1: none"
    )
    colour: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.0, description="Change brightness, contrast and saturation of training images by up to this share"
    )
    randaugment: Annotated[float, Field(ge=0, le=1)] = Field(
        0.0, description="Magnitude of RandAugment on training images: two of 14 operations each; 0: none"
    )


class SpaceConfig(_Table):
    name: str = Field("ofa-mbv3-1.0", description="Preset name, or path of a space's TOML file")
    resolutions: list[Count] | None = Field(None, description="Input sizes in pixels, instead of the space's own")


class DeviceConfig(_Table):
    name: str = Field(
        "host", description="host, host+litert, web, ssh://user@board, adb://serial…: where blocks are measured"
    )
    table: str | None = Field(None, description="Use this latency table (a name or a path) instead of measuring")
    threads: Count = Field(1, description="Threads of the runtime on the device")
    precision: DevicePrecision | None = Field(
        None, description="What networks are computed in on the device; by default the table's, or fp32"
    )
    listen: str | None = Field(None, description="Device web: HOST:PORT of its page; by default this machine only")
    ort_web: str | None = Field(None, description="Device web: folder of an npm package onnxruntime-web, not a CDN")
    effort: Literal["quick", "full"] = Field(
        "full", description="full: three visits to every block; quick: a tenth of the time, several times the error"
    )
    networks: Annotated[int, Field(ge=8)] = Field(
        30, description="Whole random networks measured to calibrate the table, and as many to tell its error"
    )


class OtherDeviceConfig(_Table):
    table: str = Field(description="Latency table of this device: a name or a path")
    latency_ms: Annotated[float, Field(gt=0)] = Field(description="Milliseconds for one image on it, at most")


class BudgetConfig(_Table):
    latency_ms: float | str | None = Field(None, description="Milliseconds for one image on the device")
    latency_quantile: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        None, description="Instead of latency_ms: the latency that this share of random networks meets"
    )
    macs: float | str | None = Field(None, description='Multiply-accumulates, such as "300M"')
    params: float | str | None = Field(None, description='Parameters, such as "6M"')
    size_mb: float | str | None = Field(None, description="Size of the 32-bit weights in megabytes")
    accuracy: float | None = Field(None, description="Test accuracy that the gate asks for, such as 0.9")


class TrainConfig(_Table):
    start: str = Field(
        "none", description="Published weights to start from: a name of 'pocketnas weights list', a file, or a hub name"
    )
    recipe: str = Field("sandwich", description="How the supernet is trained; docs/methods.md lists the recipes")
    minutes: Annotated[float, Field(ge=0.1, le=100_000)] | None = Field(
        None, description="The whole run ends in about this time: lengths follow from measured steps, not from epochs"
    )
    cpu_minutes: Annotated[float, Field(ge=0.1, le=100_000)] | None = Field(
        None,
        description="The same in CPU time, all threads together: other programs on the machine change nothing of the"
        " result. What a start from published weights gets where no length is given",
    )
    sharing: Literal["nested", "separate"] = Field(
        "nested",
        description="nested: all ops of a layer slice the same weights; separate: each op has its own, which takes"
        " more memory and longer training, and no published weights",
    )
    epochs: Count = Field(30, description="Passes over the training images")
    batch_size: Count = Field(64, description="Images a step")
    learning_rate: Annotated[float, Field(gt=0, le=10)] = Field(0.05, description="Peak of the cosine schedule")
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.1, description="Share of the answer that is spread over all classes, in every training of the run"
    )
    mixup: Annotated[float, Field(ge=0, le=10)] = Field(
        0.0, description="Alpha of mixup, in every training of the run: images blended in pairs; 0: none"
    )
    ema_decay: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        None, description="Every training ends with a running average of its weights that decays so; unset: without"
    )
    device: Annotated[str, Field(pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$")] = Field(
        "auto",
        description="Where networks train and are evaluated: auto (a GPU where there is one), cpu, cuda, cuda:1, mps",
    )
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        "auto",
        description="Of the forward pass in training: auto is bf16 on GPUs that have it, else fp16; fp32 on CPUs",
    )

    @property
    def limited(self) -> bool:
        """Whether lengths follow from a time instead of epochs."""
        return self.minutes is not None or self.cpu_minutes is not None

    @property
    def of_every_training(self) -> dict[str, Any]:
        """Settings (of TrainSettings) that supernets, sub-supernets and single networks of a run share."""
        from pipeline.supernets.compute import choose

        names = ("batch_size", "label_smoothing", "mixup", "ema_decay")
        settings = {name: getattr(self, name) for name in names}
        return settings | {"precision": choose(self.device, self.precision).precision}


class SplitConfig(_Table):
    criterion: str = Field("gradient", description="How the space is divided into regions")
    regions: Count = Field(1, description="How many sub-supernets; with 1 the supernet itself trains on")
    decisions: list[str] = Field(
        [],
        description="What may be split, in order of preference, such as 'stage2.layer1.kernel' or 'resolution'; empty:"
        " widths, depths and ops",
    )
    gradient_batches: Count = Field(4, description="Criterion gradient: batches whose gradients are compared")
    epochs: Count = Field(16, description="Passes each sub-supernet trains on after inheriting")
    learning_rate: Annotated[float, Field(gt=0, le=10)] = Field(0.03, description="Peak of the cosine schedule")
    late: Count = Field(1, description="Each sub-supernet ends with the mean of its weights after so many last epochs")
    calibrate: bool = Field(
        False, description="Set each region's mean score to its parent's; made published scores rank worse"
    )


class SearchConfig(_Table):
    method: Method | Relaxing = Field("guided", description="How architectures are proposed")
    relax_epochs: Count = Field(
        8, description="Methods that relax the space: passes over the training images, of weights and gates together"
    )
    relax_learning_rate: Annotated[float, Field(gt=0, le=10)] = Field(
        0.02, description="Methods that relax the space: peak of the weights' cosine schedule"
    )
    only: str | None = Field(
        None, description="Build this network, in any spelling of 'pocketnas space', instead of searching for one"
    )
    evaluations: Count = Field(100, description="How many architectures are evaluated")
    judge_by: Literal["inherited", "private", "scratch"] = Field(
        "inherited",
        description="inherited: with the supernet's weights; private: after private_batches of training alone from"
        " them; scratch: trained alone from random weights, as long as [finetune] says. Never mixed in one ranking",
    )
    images: Count = Field(
        1024,
        description="Search images that evaluate a network; as many training images, at most 256, for its BatchNorm",
    )
    pruner: Literal["none", "hyperband"] = Field(
        "none",
        description="hyperband: with judge_by = 'scratch', trainings that fall behind at 1, 3, 9, … epochs are stopped;"
        " with method = 'tpe' this is BOHB",
    )
    rank_by: Literal["ranker", "score"] = Field(
        "ranker",
        description="What orders inherited scores. score: nothing else; ranker: that, what their ops explain of it over"
        " 120 networks, and size",
    )
    rank_weights: Annotated[list[Weight], Field(min_length=3, max_length=3), AfterValidator(_not_all_zero)] = Field(
        [0.5, 0.5, 1.0],
        description="How much the ranker believes the score, what ops explain of it, and size (MACs, parameters,"
        " layers); 'pocketnas rank RUN' tells what fits your space",
    )
    labels: Annotated[int, Field(ge=0)] = Field(
        0, description="Random networks inside the budget that are trained privately to correct the ranker; 0 or >= 8"
    )
    private: Annotated[int, Field(ge=0)] = Field(
        0,
        description="How many of the best are ranked anew after the same private training; no gain was measured"
        " (docs/results/search.md)",
    )
    private_batches: Count = Field(10, description="Batches of a private training, from inherited weights")
    workers: Count = Field(1, description="Processes that evaluate at the same time; with 1 a seed decides everything")
    storage: str | None = Field(None, description="Optuna URL of a study that several machines share (PostgreSQL)")


class FinetuneConfig(_Table):
    candidates: Count = Field(3, description="How many of the best are trained on before the winner is chosen")
    random_baseline: Annotated[int, Field(ge=8)] = Field(
        8, description="Random architectures inside the budget, trained by the same recipe"
    )
    epochs: Count = Field(10, description="Passes over the training images")
    learning_rate: Annotated[float, Field(gt=0, le=10)] = Field(0.02, description="Peak of the cosine schedule")
    optimizer: Literal["sgd", "adamw"] = Field(
        "sgd",
        description="With a start from published weights and no learning_rate the default is adamw at 0.001;"
        " docs/results/training.md compares the two",
    )
    quantisation_aware: Literal["auto"] | bool = Field(
        "auto",
        description="On a device in int8: train finalists on with quantisation simulated. auto: those that lose more"
        " than 0.5 points to quantisation; true: all; false: none",
    )


class ExportConfig(_Table):
    formats: list[str] | None = Field(
        None,
        description="Files to write; missing tools are told. By default onnx, coreml and tensorrt in the device's"
        " precision",
    )


class Config(_Table):
    """All tables of a run. `seed` decides every random choice."""

    seed: Annotated[int, Field(ge=0, lt=2**32)] = Field(0, description="Decides every random choice of the run")
    data: DataConfig
    space: SpaceConfig = SpaceConfig()
    device: DeviceConfig = DeviceConfig()
    devices: dict[str, OtherDeviceConfig] = Field({}, description="More devices whose limits networks must keep too")
    budget: BudgetConfig = BudgetConfig()
    train: TrainConfig = TrainConfig()
    split: SplitConfig = SplitConfig()
    search: SearchConfig = SearchConfig()
    finetune: FinetuneConfig = FinetuneConfig()
    export: ExportConfig = ExportConfig()
