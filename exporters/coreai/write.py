"""Core AI: `.aimodel`, Apple's successor of Core ML (iOS 27 and macOS 27 on), from torch's exported program."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Final

from exporters.coreai.run import CoreaiRuntime
from exporters.dependencies import COREAI_RUN, Dependency
from exporters.errors import ConversionFailed, ExportError, UnsupportedOperator
from exporters.quiet import first_line, quiet
from exporters.request import INPUT_NAME, ExportRequest, Precision
from exporters.runtime import Runtime

OLDEST: Final = "iOS 27, macOS 27"  # what coreai-core 1.0 can write for


@dataclass(frozen=True, slots=True)
class CoreaiExporter:
    """Writes `.aimodel`; runs it with the portable runtime of coreai-core.

    fp16 is weights and arithmetic; int8 is weights in 8 bits per channel (layers of 1024 numbers and more) with
    fp16 arithmetic. Input and output stay float32. Two exports differ in bytes: coreai-torch gives helper
    functions random names.
    """

    target: str
    precision: Precision
    needs: tuple[Dependency, ...]
    suffix: ClassVar[str] = ".aimodel"
    runs_with: ClassVar[tuple[Dependency, ...]] = COREAI_RUN
    repeatable: ClassVar[bool] = False

    def convert(self, request: ExportRequest, path: Path) -> Mapping[str, str]:
        """Write the asset to `path`; the notes say what it runs on at least."""
        try:
            with quiet():
                program = _program(request, self.precision)
                program.save_asset(path, metadata=_metadata(request))
        except (ExportError, OSError):
            raise
        except Exception as error:  # coreai-torch raises what it likes
            reason = first_line(error)
            if any(word in str(error).lower() for word in ("unsupported", "not supported", "no lowering")):
                raise UnsupportedOperator(f"coreai: {' '.join(str(error).split())[:300]}; replace it") from error
            raise ConversionFailed(f"coreai: the converter gave up: {reason}") from error
        return {"deployment_target": OLDEST}

    def open(self, path: Path) -> Sequence[Runtime]:
        """The asset in coreai-core's own runtime; on macOS 27 that is the system's."""
        return [CoreaiRuntime(path)]


def _program(request: ExportRequest, precision: Precision) -> Any:
    import torch
    from coreai_torch import TorchConverter, get_decomp_table

    from exporters.program import exported_program
    from exporters.variances import variances

    parts = {
        **variances(),
        torch.ops.aten.adaptive_avg_pool2d.default: _pooled,
        torch.ops.aten.avg_pool2d.default: _pooled_inside,
    }
    if precision != "fp32":
        request = _halved(request)
        parts[torch.ops.aten.linear.default] = _convolved
    decomposed = exported_program(request).run_decompositions({**get_decomp_table(), **parts})
    converter = TorchConverter().add_exported_program(
        decomposed, input_names=[INPUT_NAME], output_names=[request.options.output_name]
    )
    program = converter.to_coreai()
    if precision != "int8":
        return program
    from coreai_opt.coreai_utils import DType, quantize_weights

    return quantize_weights(program, dtype=DType.INT8)


def _pooled(image: Any, size: Sequence[int]) -> Any:
    """Pooling to one pixel as a plain mean: torch's own way leaves `as_strided` after pixels in NHWC."""
    return image.mean((-2, -1), keepdim=True) if tuple(size) == (1, 1) else NotImplemented


def _pooled_inside(
    image: Any,
    kernel: Sequence[int],
    stride: Sequence[int] = (),
    padding: Sequence[int] = (0, 0),
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Any:
    """Mean pooling that leaves out the padding: coreai-torch 0.4 counts it, whatever is asked for."""
    import torch

    if count_include_pad or ceil_mode or divisor_override is not None or not any(padding):
        return NotImplemented
    size, step, pads = list(kernel), list(stride or kernel), list(padding)
    whole, inside = (
        torch.nn.functional.avg_pool2d(each, size, step, pads) for each in (image, torch.ones_like(image[:1, :1]))
    )
    return whole / inside


def _convolved(features: Any, weight: Any, bias: Any = None) -> Any:
    """A linear layer over (n, features) as a convolution of one pixel.

    The portable runtime adds the products of a matrix product up in fp16, one after the other (0.5 % off at 1024
    features, 2 % at 4096), and those of a convolution in fp32.
    """
    import torch

    if features.dim() != 2:
        product = features @ weight.t()
        return product if bias is None else product + bias
    pixel = torch.nn.functional.conv2d(features[:, :, None, None], weight[:, :, None, None], bias)
    return pixel.flatten(1)


def _halved(request: ExportRequest) -> ExportRequest:
    """The request with a network of fp16 weights that takes and returns float32."""
    from torch import Tensor, nn

    class Half(nn.Module):
        def __init__(self, network: nn.Module) -> None:
            super().__init__()
            self.network = network

        def forward(self, image: Tensor) -> Tensor:
            outputs: Tensor = self.network(image.half())
            return outputs.float()

    return replace(request, network=Half(copy.deepcopy(request.network).half()).eval(), programs={})


def _metadata(request: ExportRequest) -> Any:
    from coreai.runtime import AIModelAssetMetadata

    metadata = AIModelAssetMetadata()
    metadata.model_description = request.metadata.architecture or "image classifier"
    for name, value in request.described().items():
        metadata.set_custom(name, value)
    return metadata
