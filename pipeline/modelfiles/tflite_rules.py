"""Shapes of TFLite operators' results.

Conventions are those of TFLite's kernels: channels last, filters of (outputs, height, width, inputs).
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from pipeline.modelfiles import sizes
from pipeline.modelfiles.followed import Known, NotKnown
from pipeline.modelfiles.graph import Shape

Options = Mapping[str, Any]
Rule = Callable[[Sequence[Known], Options], Sequence[Shape | None]]


def _one(known: Sequence[Known], place: int = 0) -> Shape:
    shape = known[place].shape
    if shape is None:
        raise NotKnown
    return shape


def _same(inputs: Sequence[Known], options: Options) -> list[Shape | None]:
    return [inputs[0].shape]


def _elementwise(inputs: Sequence[Known], options: Options) -> list[Shape | None]:
    return [sizes.broadcast(*(known.shape for known in inputs))]


def _image(inputs: Sequence[Known], height: int, width: int, channels: int | None, options: Options) -> Shape:
    batch, rows, columns, _ = _one(inputs)
    padded = None if options["padding"] == 0 else 0
    return (
        batch,
        sizes.windowed(rows, height, options["stride_h"], options.get("dilation_h", 1), padded),
        sizes.windowed(columns, width, options["stride_w"], options.get("dilation_w", 1), padded),
        channels,
    )


def _convolution(inputs: Sequence[Known], options: Options) -> list[Shape | None]:
    outputs, height, width, _ = _one(inputs, 1)
    return [_image(inputs, height or 1, width or 1, outputs, options)]


def _depthwise(inputs: Sequence[Known], options: Options) -> list[Shape | None]:
    _, height, width, outputs = _one(inputs, 1)
    return [_image(inputs, height or 1, width or 1, outputs, options)]


def _pool(inputs: Sequence[Known], options: Options) -> list[Shape | None]:
    return [_image(inputs, options["filter_h"], options["filter_w"], _one(inputs)[3], options)]


def _connected(inputs: Sequence[Known], options: Options) -> list[Shape | None]:
    shape, (units, columns) = _one(inputs), _one(inputs, 1)
    if options["keep_num_dims"]:
        return [sizes.replaced(shape, -1, units)]
    return [sizes.replaced(sizes.reshaped(shape, (-1, columns or 1)), 1, units)]


def _matrix_product(inputs: Sequence[Known], options: Options) -> list[Shape | None]:
    return [sizes.product(inputs[0].shape, inputs[1].shape, bool(options["adj_x"]), bool(options["adj_y"]))]


def _reshape(inputs: Sequence[Known], options: Options) -> list[Shape | None]:
    target = inputs[1].whole if len(inputs) > 1 and inputs[1].values is not None else list(options["new_shape"])
    if not target and len(inputs) > 1 and inputs[1].values is None:
        raise NotKnown
    return [sizes.reshaped(inputs[0].shape, target)]


def _target(place: int) -> Rule:
    """The shape is given by an input's values."""
    return lambda inputs, options: [tuple(inputs[place].whole)]


def _resized(inputs: Sequence[Known], options: Options) -> list[Shape | None]:
    height, width = inputs[1].whole
    return [(_one(inputs)[0], height, width, _one(inputs)[3])]


def _concatenated(inputs: Sequence[Known], options: Options) -> list[Shape | None]:
    return [sizes.joined([known.shape for known in inputs], options["axis"])]


def _packed(inputs: Sequence[Known], options: Options) -> list[Shape | None]:
    return [sizes.stacked(_one(inputs), options["axis"], len(inputs))]


def _unpacked(inputs: Sequence[Known], options: Options) -> list[Shape | None]:
    return [sizes.reduced(inputs[0].shape, [options["axis"]], False)] * int(options["num"])


def _split(inputs: Sequence[Known], options: Options) -> list[Shape | None]:
    axis, parts = inputs[0].whole[0], int(options["num"])
    return [sizes.divided(_one(inputs, 1), axis, parts)] * parts


def _split_sizes(inputs: Sequence[Known], options: Options) -> list[Shape | None]:
    shape, asked, axis = _one(inputs), inputs[1].whole, inputs[2].whole[0]
    whole = shape[axis]
    rest = None if whole is None else whole - sum(size for size in asked if size >= 0)
    return [sizes.replaced(shape, axis, rest if size < 0 else size) for size in asked]


def _squeezed(inputs: Sequence[Known], options: Options) -> list[Shape | None]:
    shape = _one(inputs)
    axes = list(options["squeeze_dims"]) or [place for place, size in enumerate(shape) if size == 1]
    return [sizes.reduced(shape, axes, False)]


def _expanded(inputs: Sequence[Known], options: Options) -> list[Shape | None]:
    return [sizes.stacked(_one(inputs), inputs[1].whole[0], 1)]


def _transposed(inputs: Sequence[Known], options: Options) -> list[Shape | None]:
    shape = _one(inputs)
    return [tuple(shape[axis] for axis in inputs[1].whole)]


def _reduced(inputs: Sequence[Known], options: Options) -> list[Shape | None]:
    return [sizes.reduced(inputs[0].shape, inputs[1].whole, bool(options["keep_dims"]))]


def _arg(inputs: Sequence[Known], options: Options) -> list[Shape | None]:
    return [sizes.reduced(inputs[0].shape, inputs[1].whole, False)]


def _padded(inputs: Sequence[Known], options: Options) -> list[Shape | None]:
    return [sizes.padded(_one(inputs), inputs[1].whole)]


def _cut(inputs: Sequence[Known], options: Options) -> list[Shape | None]:
    return [sizes.cut(_one(inputs), inputs[1].whole, inputs[2].whole)]


def _strided(inputs: Sequence[Known], options: Options) -> list[Shape | None]:
    shape, begins, ends, steps = _one(inputs), inputs[1].whole, inputs[2].whole, inputs[3].whole
    if options["ellipsis"] or options["new"]:
        raise NotKnown
    result: list[int | None] = []
    for place, size in enumerate(shape):
        bit = 1 << place
        if place >= len(begins):
            result.append(size)
        elif not options["shrink"] & bit:
            begin = None if options["begin"] & bit else begins[place]
            end = None if options["end"] & bit else ends[place]
            result.append(sizes.sliced(size, begin, end, steps[place]))
    return [tuple(result)]


def _gathered(inputs: Sequence[Known], options: Options) -> list[Shape | None]:
    shape, indices = _one(inputs), _one(inputs, 1)
    axis = options["axis"] % len(shape)
    return [(*shape[:axis], *indices[options["batch_dims"] :], *shape[axis + 1 :])]


def _gathered_nd(inputs: Sequence[Known], options: Options) -> list[Shape | None]:
    shape, indices = _one(inputs), _one(inputs, 1)
    return [(*indices[:-1], *shape[indices[-1] or 0 :])]


def _tiled(inputs: Sequence[Known], options: Options) -> list[Shape | None]:
    return [sizes.tiled(_one(inputs), inputs[1].whole)]


def _shape(inputs: Sequence[Known], options: Options) -> list[Shape | None]:
    return [(len(_one(inputs)),)]


def _range(inputs: Sequence[Known], options: Options) -> list[Shape | None]:
    start, end, step = (known.whole[0] for known in inputs)
    return [(max(0, math.ceil((end - start) / step)),)]


def _one_hot(inputs: Sequence[Known], options: Options) -> list[Shape | None]:
    shape, depth = _one(inputs), inputs[1].whole[0]
    axis = options["axis"] % (len(shape) + 1) if options["axis"] >= 0 else len(shape)
    return [(*shape[:axis], depth, *shape[axis:])]


def _deeper(inputs: Sequence[Known], options: Options) -> list[Shape | None]:
    (batch, rows, columns, channels), block = _one(inputs), options["block"]
    down = [None if size is None else size // block for size in (rows, columns)]
    return [(batch, *down, None if channels is None else channels * block * block)]


def _wider(inputs: Sequence[Known], options: Options) -> list[Shape | None]:
    (batch, rows, columns, channels), block = _one(inputs), options["block"]
    up = [None if size is None else size * block for size in (rows, columns)]
    return [(batch, *up, None if channels is None else channels // (block * block))]


def _to_batches(inputs: Sequence[Known], options: Options) -> list[Shape | None]:
    shape, blocks, pads = _one(inputs), inputs[1].whole, inputs[2].whole
    inner = [
        None if size is None else (size + pads[2 * i] + pads[2 * i + 1]) // blocks[i]
        for i, size in enumerate(shape[1 : 1 + len(blocks)])
    ]
    batch = None if shape[0] is None else shape[0] * math.prod(blocks)
    return [(batch, *inner, *shape[1 + len(blocks) :])]


def _from_batches(inputs: Sequence[Known], options: Options) -> list[Shape | None]:
    shape, blocks, crops = _one(inputs), inputs[1].whole, inputs[2].whole
    inner = [
        None if size is None else size * blocks[i] - crops[2 * i] - crops[2 * i + 1]
        for i, size in enumerate(shape[1 : 1 + len(blocks)])
    ]
    batch = None if shape[0] is None else shape[0] // math.prod(blocks)
    return [(batch, *inner, *shape[1 + len(blocks) :])]


def _top(inputs: Sequence[Known], options: Options) -> list[Shape | None]:
    return [sizes.replaced(inputs[0].shape, -1, inputs[1].whole[0])] * 2


def _real_fft(inputs: Sequence[Known], options: Options) -> list[Shape | None]:
    height, width = inputs[1].whole
    return [(*_one(inputs)[:-2], height, width // 2 + 1)]


def _sequence_lstm(inputs: Sequence[Known], options: Options) -> list[Shape | None]:
    projection = inputs[16].shape if len(inputs) > 16 else None
    outputs = _one(inputs, 5)[1] if projection is None else projection[0]
    return [sizes.replaced(inputs[0].shape, -1, outputs)]


def _table() -> dict[str, Rule]:
    rules: dict[str, Rule] = {}
    for rule, names in (
        (
            _same,
            "ABS CAST CEIL COMPLEX_ABS COS CUMSUM DEQUANTIZE DYNAMIC_UPDATE_SLICE ELU EXP FAKE_QUANT FLOOR GELU "
            "HARD_SWISH L2_NORMALIZATION LEAKY_RELU LOCAL_RESPONSE_NORMALIZATION LOG LOGICAL_NOT LOGISTIC LOG_SOFTMAX "
            "NEG QUANTIZE RELU RELU6 RELU_0_TO_1 RELU_N1_TO_1 REVERSE_V2 ROUND RSQRT SIGN SIN SOFTMAX SQRT SQUARE TANH "
            "ZEROS_LIKE",
        ),
        (
            _elementwise,
            "ADD ADD_N ATAN2 DIV EQUAL FLOOR_DIV FLOOR_MOD GREATER GREATER_EQUAL LESS LESS_EQUAL LOGICAL_AND "
            "LOGICAL_OR MAXIMUM MINIMUM MUL NOT_EQUAL POW PRELU SELECT SELECT_V2 SQUARED_DIFFERENCE SUB",
        ),
        (_reduced, "MEAN REDUCE_ALL REDUCE_ANY REDUCE_MAX REDUCE_MIN REDUCE_PROD SUM"),
        (_pool, "AVERAGE_POOL_2D L2_POOL_2D MAX_POOL_2D"),
        (_padded, "MIRROR_PAD PAD PADV2"),
        (_resized, "RESIZE_BILINEAR RESIZE_NEAREST_NEIGHBOR"),
        (_arg, "ARG_MAX ARG_MIN"),
        (_target(0), "TRANSPOSE_CONV FILL"),
        (_target(1), "BROADCAST_TO"),
    ):
        rules |= dict.fromkeys(names.split(), rule)
    return rules


RULES: Final[Mapping[str, Rule]] = {
    **_table(),
    "BATCH_MATMUL": _matrix_product,
    "BATCH_TO_SPACE_ND": _from_batches,
    "CONCATENATION": _concatenated,
    "CONV_2D": _convolution,
    "DEPTHWISE_CONV_2D": _depthwise,
    "DEPTH_TO_SPACE": _wider,
    "EXPAND_DIMS": _expanded,
    "FULLY_CONNECTED": _connected,
    "GATHER": _gathered,
    "GATHER_ND": _gathered_nd,
    "ONE_HOT": _one_hot,
    "PACK": _packed,
    "RANGE": _range,
    "RESHAPE": _reshape,
    "RFFT2D": _real_fft,
    "SHAPE": _shape,
    "SLICE": _cut,
    "SPACE_TO_BATCH_ND": _to_batches,
    "SPACE_TO_DEPTH": _deeper,
    "SPLIT": _split,
    "SPLIT_V": _split_sizes,
    "SQUEEZE": _squeezed,
    "STRIDED_SLICE": _strided,
    "TILE": _tiled,
    "TOPK_V2": _top,
    "TRANSPOSE": _transposed,
    "UNIDIRECTIONAL_SEQUENCE_LSTM": _sequence_lstm,
    "UNPACK": _unpacked,
}
