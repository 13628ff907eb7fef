"""The network as it is deployed: preprocessing before it, softmax after it. Imports torch: import lazily."""

import copy

import numpy as np
import torch
from torch import nn

from exporters.errors import ExportError, WrongInput
from exporters.request import Array, ExportRequest, Samples


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


def example(request: ExportRequest) -> torch.Tensor:
    """One batch of inputs as the file takes them (two images where any batch size is asked for)."""
    count = request.options.batch or 2
    images = np.resize(request.samples.images, (count, *request.samples.images.shape[1:]))
    return torch.from_numpy(np.ascontiguousarray(request.file_inputs(images)))


def prepared(network: nn.Module, samples: Samples) -> nn.Module:
    """A copy of the network on the CPU, float32, in eval mode, that was seen to accept the images.

    Raises WrongInput, naming the shapes, where it does not accept them or returns no (n, classes).
    """
    copied: nn.Module = copy.deepcopy(network).to("cpu", torch.float32).eval()
    for parameter in copied.parameters():
        parameter.requires_grad_(False)
        # channels_last weights would make the written constants depend on how the network was trained.
        parameter.data = parameter.data.contiguous()
    shape = samples.images.shape
    try:
        outputs = run(copied, samples.images[:2])
    except ExportError:
        raise
    except Exception as error:  # whatever the network's own forward raises
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise WrongInput(f"the network does not accept images of shape {shape[1:]}: {reason}") from error
    if outputs.ndim != 2:
        raise WrongInput(f"the network returns shape {outputs.shape}; a classifier returns (n, classes)")
    return copied


def run(network: nn.Module, images: Array) -> Array:
    """Outputs (n, classes), float32, of normalised NCHW images."""
    parts = []
    with torch.no_grad():
        for start in range(0, len(images), 64):
            outputs = network(torch.from_numpy(np.ascontiguousarray(images[start : start + 64])))
            if not isinstance(outputs, torch.Tensor):
                raise WrongInput(f"the network returns {type(outputs).__name__}; one tensor is needed")
            parts.append(outputs.float().numpy())
    return np.concatenate(parts)


def expected_outputs(request: ExportRequest) -> Array:
    """What the files must compute: the network itself on the images that the files' inputs stand for.

    Preprocessing and softmax are done in numpy here, so that their folded versions are judged too.
    """
    images, preprocessing = request.samples.images, request.options.preprocessing
    if preprocessing is not None:
        images = preprocessing.normalised(preprocessing.pixels(images))
    outputs = run(request.network, images)
    if not request.options.softmax:
        return outputs
    powers = np.exp(outputs - outputs.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


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
