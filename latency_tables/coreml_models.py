"""Blocks as Core ML packages, without torch: the MIL operators that the export of a trained network has."""

import contextlib
import io
import logging
import math
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from latency_tables.blocks import Activation, Block, require_chain
from latency_tables.random_weights import BIAS_SCALE, RandomWeights, weight_scale
from latency_tables.table import Precision


def build_coreml(blocks: Sequence[Block], precision: Precision = "fp16", seed: int = 0) -> bytes:
    """A zip file of `model.mlpackage`, as `write_coreml` writes it."""
    stream = io.BytesIO()
    with tempfile.TemporaryDirectory(prefix="pocketnas-") as folder, zipfile.ZipFile(stream, "w") as archive:
        package = Path(folder) / "model.mlpackage"
        write_coreml(package, blocks, precision, seed)
        for file in sorted(package.rglob("*")):
            archive.write(file, file.relative_to(folder))
    return stream.getvalue()


def write_coreml(path: Path, blocks: Sequence[Block], precision: Precision = "fp16", seed: int = 0) -> None:
    """Write an `.mlpackage` that runs `blocks` one after the other on a batch of one image.

    Core ML's Neural Engine computes in fp16 only; int8 is 8-bit weights with fp16 arithmetic, as exports have it. Input
    "image" is 1 x in_channels x in_size x in_size of the first block. TableError where a block does not take what the
    block before it gives.
    """
    require_chain(blocks)
    with _quiet():
        import coremltools as ct

        model = ct.convert(
            _program(ct, blocks, seed),
            convert_to="mlprogram",
            minimum_deployment_target=ct.target.iOS16,
            compute_precision=ct.precision.FLOAT32 if precision == "fp32" else ct.precision.FLOAT16,
            skip_model_load=True,
        )
        if precision == "int8":
            optimize = ct.optimize.coreml
            config = optimize.OptimizationConfig(optimize.OpLinearQuantizerConfig(mode="linear_symmetric"))
            model = optimize.linear_quantize_weights(model, config)
        model.save(str(path))


def _program(ct: Any, blocks: Sequence[Block], seed: int) -> Any:
    from coremltools.converters.mil import Builder

    first = blocks[0]
    shape = (1, first.in_channels, first.in_size, first.in_size)

    @Builder.program(input_specs=[Builder.TensorSpec(shape=shape)], opset_version=ct.target.iOS16)  # type: ignore[untyped-decorator]
    def program(image: Any) -> Any:
        graph = _Graph(Builder, RandomWeights.seeded(seed))
        for block in blocks:
            image = graph.add_block(block, image)
        return image

    return program


@dataclass
class _Graph:
    """Appends operators to the program that is being built; tensors are coremltools' variables."""

    builder: Any
    drawn: RandomWeights

    def add_block(self, block: Block, x: Any) -> Any:
        match block.kind:
            case "conv":
                x = self._conv(x, block.in_channels, block.out_channels, block)
                return self._activation(x, block.activation)
            case "mbconv":
                return self._mbconv(block, x)
            case "pool":
                return self._mean(x)
            case "mix":
                x = self._conv(x, block.in_channels, block.out_channels, bias=False)
                return self._activation(x, block.activation)
            case "linear":
                return self._linear(block, x)

    def _mbconv(self, block: Block, x: Any) -> Any:
        inside, mid = x, block.mid_channels
        if block.expands:
            inside = self._activation(self._conv(inside, block.in_channels, mid), block.activation)
        inside = self._activation(self._conv(inside, mid, mid, block, groups=mid), block.activation)
        if block.se_channels:
            inside = self._squeeze(block, inside)
        inside = self._conv(inside, mid, block.out_channels)
        return self.builder.add(x=x, y=inside) if block.residual else inside

    def _squeeze(self, block: Block, x: Any) -> Any:
        smooth = block.activation == "silu"
        gate = self._conv(self._mean(x), block.mid_channels, block.se_channels)
        gate = self._activation(gate, "silu" if smooth else "relu")
        gate = self._conv(gate, block.se_channels, block.mid_channels)
        gate = self.builder.sigmoid(x=gate) if smooth else self.builder.sigmoid_hard(x=gate, alpha=1 / 6, beta=0.5)
        return self.builder.mul(x=x, y=gate)

    def _mean(self, x: Any) -> Any:
        return self.builder.reduce_mean(x=x, axes=[2, 3], keep_dims=True)

    def _linear(self, block: Block, x: Any) -> Any:
        flat = self.builder.reshape(x=x, shape=[1, block.in_channels])
        weight = self._weight((block.out_channels, block.in_channels))
        x = self.builder.linear(x=flat, weight=weight, bias=self._bias(block.out_channels))
        return self._activation(x, block.activation)

    def _conv(
        self, x: Any, inputs: int, outputs: int, block: Block | None = None, groups: int = 1, bias: bool = True
    ) -> Any:
        """The k x k convolution of `block`, or a 1x1 one."""
        kernel, stride, pads = (1, 1, (0, 0)) if block is None else (block.kernel, block.stride, block.pads)
        weight = self._weight((outputs, inputs // groups, kernel, kernel))
        added = {"bias": self._bias(outputs)} if bias else {}
        return self.builder.conv(
            x=x, weight=weight, strides=[stride] * 2, pad_type="custom", pad=[*pads, *pads], groups=groups, **added
        )

    def _activation(self, x: Any, activation: Activation) -> Any:
        match activation:
            case "none":
                return x
            case "hswish":
                kept = self.builder.thresholded_relu(x=x, alpha=-3.0)
                return self.builder.mul(x=kept, y=self.builder.sigmoid_hard(x=kept, alpha=1 / 6, beta=0.5))
        return getattr(self.builder, activation)(x=x)

    def _weight(self, shape: tuple[int, ...]) -> Any:
        return self.drawn.draw(math.prod(shape), weight_scale(math.prod(shape[1:]))).reshape(shape)

    def _bias(self, channels: int) -> Any:
        return self.drawn.draw(channels, BIAS_SCALE)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without coremltools' progress bars, and its warnings of what it was not tested with."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        logging.disable(before)
