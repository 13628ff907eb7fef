"""Shapes of MIL operations' results."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from pipeline.modelfiles import sizes
from pipeline.modelfiles.followed import Known, NotKnown
from pipeline.modelfiles.graph import Shape


@dataclass(frozen=True, slots=True)
class Given:
    """The inputs of an operation by name: one tensor, or several as of a concat."""

    tensors: Mapping[str, Sequence[Known]]

    def known(self, name: str) -> Known:
        """The tensor of that name. Raises NotKnown."""
        found = self.tensors.get(name)
        if not found:
            raise NotKnown
        return found[0]

    def shape(self, name: str = "x") -> Shape:
        """Its shape. Raises NotKnown."""
        shape = self.known(name).shape
        if shape is None:
            raise NotKnown
        return shape

    def whole(self, name: str, default: Sequence[int] | None = None) -> list[int]:
        """Its values as whole numbers; `default` where the input is left out. Raises NotKnown."""
        if name not in self.tensors and default is not None:
            return list(default)
        return self.known(name).whole

    def text(self, name: str, default: str) -> str:
        """A text."""
        found = self.tensors.get(name)
        return default if not found else str(found[0].values)


Rule = Callable[[Given], Sequence[Shape | None]]


def _same(given: Given) -> list[Shape | None]:
    return [given.shape()]


def _elementwise(given: Given) -> list[Shape | None]:
    return [sizes.broadcast(given.shape("x"), given.shape("y"))]


def _selected(given: Given) -> list[Shape | None]:
    return [sizes.broadcast(given.shape("cond"), given.shape("a"), given.shape("b"))]


def _windows(given: Given, kernel: Sequence[int], channels: int | None) -> list[Shape | None]:
    shape, rank = given.shape(), len(kernel)
    strides, dilations = given.whole("strides", [1] * rank), given.whole("dilations", [1] * rank)
    how, pads = given.text("pad_type", "valid"), given.whole("pad", [0] * 2 * rank)
    if given.whole("ceil_mode", [0])[0]:
        raise NotKnown
    spatial = [
        sizes.windowed(
            size,
            kernel[place],
            strides[place],
            dilations[place],
            None if how.startswith("same") else pads[2 * place] + pads[2 * place + 1] if how == "custom" else 0,
        )
        for place, size in enumerate(shape[2:])
    ]
    return [(shape[0], channels, *spatial)]


def _convolved(given: Given) -> list[Shape | None]:
    outputs, _, *kernel = given.shape("weight")
    return _windows(given, [size or 0 for size in kernel], outputs)


def _pooled(given: Given) -> list[Shape | None]:
    return _windows(given, given.whole("kernel_sizes"), given.shape()[1])


def _linear(given: Given) -> list[Shape | None]:
    return [sizes.replaced(given.shape(), -1, given.shape("weight")[0])]


def _product(given: Given) -> list[Shape | None]:
    turns = [bool(given.whole(name, [0])[0]) for name in ("transpose_x", "transpose_y")]
    return [sizes.product(given.shape("x"), given.shape("y"), *turns)]


def _reshaped(given: Given) -> list[Shape | None]:
    shape, target = given.shape(), given.whole("shape")
    copied = [shape[place] if size == 0 else size for place, size in enumerate(target)]
    if None in copied:
        raise NotKnown
    return [sizes.reshaped(shape, [size or 0 for size in copied])]


def _expanded(given: Given) -> list[Shape | None]:
    shape: list[int | None] = list(given.shape())
    rank = len(shape) + len(given.whole("axes"))
    for axis in sorted(axis % rank for axis in given.whole("axes")):
        shape.insert(axis, 1)
    return [tuple(shape)]


def _squeezed(given: Given) -> list[Shape | None]:
    shape = given.shape()
    return [sizes.reduced(shape, given.whole("axes", [i for i, size in enumerate(shape) if size == 1]), False)]


def _transposed(given: Given) -> list[Shape | None]:
    shape = given.shape()
    return [tuple(shape[axis] for axis in given.whole("perm"))]


def _joined(given: Given) -> list[Shape | None]:
    return [sizes.joined([known.shape for known in given.tensors["values"]], given.whole("axis")[0])]


def _stacked(given: Given) -> list[Shape | None]:
    return [sizes.stacked(given.shape("values"), given.whole("axis")[0], len(given.tensors["values"]))]


def _split(given: Given) -> list[Shape | None]:
    shape, axis = given.shape(), given.whole("axis")[0]
    if "split_sizes" in given.tensors:
        return [sizes.replaced(shape, axis, size) for size in given.whole("split_sizes")]
    parts = given.whole("num_splits")[0]
    return [sizes.divided(shape, axis, parts)] * parts


def _sliced(given: Given) -> list[Shape | None]:
    shape = given.shape()
    rank = len(shape)
    begins, ends, steps = given.whole("begin"), given.whole("end"), given.whole("stride", [1] * rank)
    masks = [given.whole(f"{name}_mask", [0] * rank) for name in ("begin", "end", "squeeze")]
    result = []
    for place, size in enumerate(shape):
        if not masks[2][place]:
            begin = None if masks[0][place] else begins[place]
            result.append(sizes.sliced(size, begin, None if masks[1][place] else ends[place], steps[place]))
    return [tuple(result)]


def _cut(given: Given) -> list[Shape | None]:
    return [sizes.cut(given.shape(), given.whole("begin"), given.whole("size"))]


def _padded(given: Given) -> list[Shape | None]:
    shape, pads = given.shape(), given.whole("pad")
    return [sizes.padded(shape, [0] * (2 * len(shape) - len(pads)) + pads)]


def _reduced(given: Given) -> list[Shape | None]:
    shape = given.shape()
    axes = given.whole("axes", range(len(shape))) if "axis" not in given.tensors else given.whole("axis")
    return [sizes.reduced(shape, axes, bool(given.whole("keep_dims", [0])[0]))]


def _upsampled(given: Given) -> list[Shape | None]:
    *front, height, width = given.shape()
    factors = []
    for name in ("scale_factor_height", "scale_factor_width"):
        value = given.known(name).values
        factors.append(1.0 if value is None else float(value.reshape(-1)[0]))
    spatial = [None if s is None else int(s * factor) for s, factor in zip((height, width), factors, strict=True)]
    return [(*front, *spatial)]


def _resized(given: Given) -> list[Shape | None]:
    return [(*given.shape()[:-2], given.whole("target_size_height")[0], given.whole("target_size_width")[0])]


def _tiled(given: Given) -> list[Shape | None]:
    return [sizes.tiled(given.shape(), given.whole("reps"))]


def _gathered(given: Given) -> list[Shape | None]:
    shape, axis = given.shape(), given.whole("axis", [0])[0] % len(given.shape())
    if given.whole("batch_dims", [0])[0]:
        raise NotKnown
    return [(*shape[:axis], *given.shape("indices"), *shape[axis + 1 :])]


def _spread(given: Given) -> list[Shape | None]:
    factor = given.whole("upscale_factor")[0]
    batch, channels, *spatial = given.shape()
    return [(batch, None if channels is None else channels // factor**2, *(s and s * factor for s in spatial))]


def _shape(given: Given) -> list[Shape | None]:
    return [(len(given.shape()),)]


def _rules() -> dict[str, Rule]:
    rules: dict[str, Rule] = {}
    for rule, names in (
        (
            _same,
            "abs batch_norm cast ceil clip cos cumsum elu erf exp floor gelu identity instance_norm inverse l2_norm "
            "layer_norm leaky_relu linear_activation local_response_norm log logical_not prelu relu relu6 reverse "
            "round rsqrt scaled_tanh sigmoid sigmoid_hard sign silu sin softmax softplus softsign sqrt square tanh "
            "threshold thresholded_relu",
        ),
        (
            _elementwise,
            "add equal floor_div greater greater_equal less less_equal logical_and logical_or logical_xor maximum "
            "minimum mod mul not_equal pow real_div sub",
        ),
        (
            _reduced,
            "reduce_argmax reduce_argmin reduce_l1_norm reduce_l2_norm reduce_log_sum reduce_log_sum_exp reduce_max "
            "reduce_mean reduce_min reduce_prod reduce_sum reduce_sum_square",
        ),
        (_pooled, "avg_pool l2_pool max_pool"),
        (_upsampled, "upsample_bilinear upsample_nearest_neighbor"),
        (_resized, "resize_bilinear resize_nearest_neighbor"),
    ):
        rules |= dict.fromkeys(names.split(), rule)
    return rules


RULES: Final[Mapping[str, Rule]] = {
    **_rules(),
    "concat": _joined,
    "conv": _convolved,
    "expand_dims": _expanded,
    "gather": _gathered,
    "linear": _linear,
    "matmul": _product,
    "pad": _padded,
    "pixel_shuffle": _spread,
    "reshape": _reshaped,
    "select": _selected,
    "shape": _shape,
    "slice_by_index": _sliced,
    "slice_by_size": _cut,
    "split": _split,
    "squeeze": _squeezed,
    "stack": _stacked,
    "tile": _tiled,
    "transpose": _transposed,
}
