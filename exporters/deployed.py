"""The network as it is deployed: preprocessing before it, softmax after it. Imports torch: import lazily."""

import contextlib
import copy
from collections.abc import Iterator

import numpy as np
import torch
from torch import nn

from exporters.errors import ExportError, WrongInput
from exporters.quiet import first_line
from exporters.request import Array, ExportRequest, Samples
from exporters.runtime import in_batches, probabilities


class Deployed(nn.Module):
    """`network` behind (pixel / 255 - mean) / std and, with `softmax`, before a softmax over classes.

    With preprocessing the input is uint8 pixels in its layout, or float32 NCHW pixels where
    `float_pixels` (Core ML's image input).
    """

    def __init__(self, request: ExportRequest, float_pixels: bool) -> None:
        super().__init__()
        preprocessing = request.options.preprocessing
        self.network = request.network
        self.softmax = request.options.softmax
        self.folds = preprocessing is not None
        self.permutes = preprocessing is not None and preprocessing.layout == "NHWC" and not float_pixels
        if preprocessing is not None:
            std = np.asarray(preprocessing.std, dtype=np.float64)
            scale, shift = 1 / (255 * std), -np.asarray(preprocessing.mean) / std
            self.scale: torch.Tensor
            self.shift: torch.Tensor
            self.register_buffer("scale", torch.tensor(scale, dtype=torch.float32)[None, :, None, None])
            self.register_buffer("shift", torch.tensor(shift, dtype=torch.float32)[None, :, None, None])

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Outputs (n, classes)."""
        if self.folds:
            image = image.float()  # first: TensorRT cannot transpose uint8
        if self.permutes:
            image = image.permute(0, 3, 1, 2)
        if self.folds:
            image = image * self.scale + self.shift
        outputs: torch.Tensor = self.network(image)
        return outputs.softmax(dim=1) if self.softmax else outputs


def deployed(request: ExportRequest, float_pixels: bool = False) -> nn.Module:
    """The request's network as its files compute it, in eval mode."""
    if request.options.preprocessing is None and not request.options.softmax:
        return request.network
    return Deployed(request, float_pixels).eval()


def example(request: ExportRequest, float_pixels: bool = False) -> torch.Tensor:
    """One batch of inputs (n, …) as the file takes them (two images where any batch size is asked for)."""
    count = request.options.batch or 2
    if float_pixels and request.options.preprocessing is not None:
        return torch.zeros(count, *request.samples.images.shape[1:])
    images = np.resize(request.samples.images, (count, *request.samples.images.shape[1:]))
    return torch.from_numpy(np.ascontiguousarray(request.file_inputs(images)))


def prepared(network: nn.Module, samples: Samples, batch: int | None) -> tuple[nn.Module, int | None]:
    """A copy of the network on the CPU, float32, in eval mode, that was seen to accept the images.

    Beside it the one batch size that the network takes, None where it takes any; it is tried with two images,
    then with `batch`. Raises WrongInput, naming the shapes, where it does not accept them or returns no
    (n, classes), and where it cannot be copied.
    """
    with torch.no_grad():  # a scripted module's parameters would remember being copied
        copied = _copied(network).to("cpu", torch.float32).eval()
    for parameter in copied.parameters():
        parameter.requires_grad_(False)
        # channels_last weights would make the written constants depend on how the network was trained.
        parameter.data = parameter.data.contiguous()
    only = None
    try:
        outputs = run(copied, samples.images[:2])
    except ExportError:
        raise
    except Exception as refusal:  # whatever the network's own forward raises
        only = batch
        try:
            outputs = run(copied, samples.images[:2], batch or 1)
        except Exception:
            shape = samples.images.shape[1:]
            raise WrongInput(f"the network does not accept images of shape {shape}: {first_line(refusal)}") from refusal
        if batch is None:
            raise WrongInput("the network takes one image at a time; set batch to 1, not to any") from refusal
    if outputs.ndim != 2:
        raise WrongInput(f"the network returns shape {outputs.shape}; a classifier returns (n, classes)")
    return copied, only


def _copied(network: nn.Module) -> nn.Module:
    """What lies inside `torch.compile` and data-parallel wrappers, copied."""
    while isinstance(inner := getattr(network, "_orig_mod", None) or _parallel(network), nn.Module):
        network = inner
    if any(isinstance(parameter, nn.parameter.UninitializedParameter) for parameter in network.parameters()):
        raise WrongInput("the network has lazy layers without weights yet; call it once on a batch of images")
    # Old-style weight norm keeps a computed tensor beside its parameters, which deepcopy refuses.
    computed = {
        id(value): value.detach().clone()
        for module in network.modules()
        for value in vars(module).values()
        if isinstance(value, torch.Tensor) and value.grad_fn is not None
    }
    try:
        copied: nn.Module = copy.deepcopy(network, computed)
    except Exception as error:  # a module may hold anything: locks, files, generators
        raise WrongInput(f"the network cannot be copied: {first_line(error)}") from error
    return copied


def _parallel(network: nn.Module) -> nn.Module | None:
    wrappers = (nn.DataParallel, nn.parallel.DistributedDataParallel)
    return network.module if isinstance(network, wrappers) else None


def run(network: nn.Module, images: Array, batch: int | None = None) -> Array:
    """Outputs (n, classes), float32, of normalised NCHW images; `batch` is the only batch size it takes."""

    def call(part: Array) -> Array:
        outputs = network(torch.from_numpy(np.ascontiguousarray(part)))
        if not isinstance(outputs, torch.Tensor):
            raise WrongInput(f"the network returns {type(outputs).__name__}; one tensor is needed")
        result: Array = outputs.float().numpy()
        return result

    with torch.no_grad():
        return in_batches(call, images, batch)


def expected_outputs(request: ExportRequest) -> Array:
    """What the files must compute, shape (n, classes): the network itself on the images that the files' inputs stand
    for.

    Preprocessing and softmax are done in numpy here, so that their folded versions are judged too.
    """
    images, preprocessing = request.samples.images, request.options.preprocessing
    if preprocessing is not None:
        images = preprocessing.normalised(preprocessing.pixels(images))
    outputs = run(request.network, images, request.network_batch)
    return probabilities(outputs) if request.options.softmax else outputs


class NamedOutput(nn.Module):
    """A network whose result is a dictionary of one tensor, for formats that take the names from there."""

    def __init__(self, network: nn.Module, name: str) -> None:
        super().__init__()
        self.network, self.name = network, name

    def forward(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
        """{name: outputs (n, classes)}."""
        return {self.name: self.network(image)}


def named_output(request: ExportRequest) -> nn.Module:
    """The network as its files compute it, returning {output name: outputs}."""
    return NamedOutput(deployed(request), request.options.output_name).eval()


@contextlib.contextmanager
def traceable() -> Iterator[None]:
    """Attention as separate operators: no file format has the fused kernel that torch takes in eval mode."""
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.no_grad():
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
