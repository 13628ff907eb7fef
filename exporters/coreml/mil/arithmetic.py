"""Operators that compute: arithmetic, activations, norms, attention, comparisons, reductions."""

from collections.abc import Callable, Mapping
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

from exporters.coreml.mil.arguments import Arguments, Operator, ints, tensor


def _reduce(reduction: Callable[..., Tensor]) -> Operator:
    def reduce(a: Arguments) -> Tensor:
        x = tensor(a["x"])
        axes = ints(a["axes"]) if a.get("axes") is not None else list(range(x.ndim))
        return reduction(x, dim=axes, keepdim=bool(a.get("keep_dims", False)))

    return reduce


def _binary(operation: Callable[[Tensor, Tensor], Tensor]) -> Operator:
    return lambda a: operation(tensor(a["x"]), tensor(a["y"]))


def _unary(operation: Callable[[Tensor], Tensor]) -> Operator:
    return lambda a: operation(a["x"])


def _thresholded_relu(a: Arguments) -> Tensor:
    x = a["x"]
    return torch.where(x >= float(a.get("alpha", 1.0)), x, torch.zeros_like(x))


def _sigmoid_hard(a: Arguments) -> Tensor:
    x: Tensor = a["x"]
    return (float(a.get("alpha", 0.2)) * x + float(a.get("beta", 0.5))).clamp(0, 1)


def _prelu(a: Arguments) -> Tensor:
    return functional.prelu(a["x"], a["alpha"])


def _gelu(a: Arguments) -> Tensor:
    mode, x = a.get("mode", "EXACT"), tensor(a["x"])
    if mode == "SIGMOID_APPROXIMATION":
        return x * torch.sigmoid(1.702 * x)
    return functional.gelu(x, approximate="tanh" if mode == "TANH_APPROXIMATION" else "none")


def _batch_norm(a: Arguments) -> Tensor:
    return functional.batch_norm(
        a["x"], a["mean"], a["variance"], a.get("gamma"), a.get("beta"), eps=float(a.get("epsilon", 1e-5))
    )


def _matmul(a: Arguments) -> Tensor:
    x, y = tensor(a["x"]), tensor(a["y"])
    x = x.transpose(-1, -2) if a.get("transpose_x") else x
    y = y.transpose(-1, -2) if a.get("transpose_y") else y
    return x @ y


def _linear(a: Arguments) -> Tensor:
    return functional.linear(a["x"], a["weight"], a.get("bias"))


def _clip(a: Arguments) -> Tensor:
    x: Tensor = a["x"]
    return x.clamp(float(a["alpha"]), float(a["beta"]))


def _classify(a: Arguments) -> tuple[str, Tensor]:
    probabilities: Tensor = a["probabilities"]
    classes = [str(getattr(item, "val", item)) for item in a["classes"]]
    return classes[int(probabilities.reshape(-1).argmax())], probabilities


def _softmax(a: Arguments) -> Tensor:
    return functional.softmax(a["x"], dim=int(a.get("axis", -1)))


def _layer_norm(a: Arguments) -> Tensor:
    x, axes = tensor(a["x"]), ints(a["axes"])
    centred = x - x.mean(axes, keepdim=True)
    variance = centred.square().mean(axes, keepdim=True)
    result = centred * torch.rsqrt(variance + float(a.get("epsilon", 1e-5)))
    result = result if a.get("gamma") is None else result * a["gamma"]
    return result if a.get("beta") is None else result + a["beta"]


def _reduce_prod(x: Tensor, dim: list[int], keepdim: bool) -> Tensor:
    for axis in sorted((axis % x.ndim for axis in dim), reverse=True):
        x = x.prod(axis, keepdim=keepdim)
    return x


def _places(find: Callable[..., Tensor]) -> Operator:
    return lambda a: find(a["x"], int(a.get("axis", -1)), bool(a.get("keep_dims", False))).int()


def _instance_norm(a: Arguments) -> Tensor:
    epsilon = float(a.get("epsilon", 1e-5))
    return functional.instance_norm(a["x"], weight=a.get("gamma"), bias=a.get("beta"), eps=epsilon)


def _l2_norm(a: Arguments) -> Tensor:
    x = tensor(a["x"])
    axes = list(range(max(x.ndim - 3, 0), x.ndim))
    return x * torch.rsqrt(x.square().sum(axes, keepdim=True) + float(a.get("epsilon", 1e-6)))


def _local_response_norm(a: Arguments) -> Tensor:
    alpha, beta, k = float(a.get("alpha", 1e-4)), float(a.get("beta", 0.75)), float(a.get("k", 1.0))
    return functional.local_response_norm(a["x"], int(a["size"]), alpha, beta, k)


def _attention(a: Arguments) -> Tensor:
    return functional.scaled_dot_product_attention(a["query"], a["key"], a["value"], a.get("attn_mask"))


def _select(a: Arguments) -> Tensor:
    return torch.where(tensor(a["cond"]).bool(), tensor(a["a"]), tensor(a["b"]))


def _cumsum(a: Arguments) -> Tensor:
    x, axis = tensor(a["x"]), int(a.get("axis", 0))
    backwards = bool(a.get("reverse", False))
    x = x.flip(axis) if backwards else x
    total = x.cumsum(axis) - (x if a.get("exclusive") else 0)
    return total.flip(axis) if backwards else total


ARITHMETIC: Final[Mapping[str, Operator]] = {
    "abs": _unary(torch.abs),
    "acos": _unary(torch.acos),
    "add": _binary(torch.add),
    "asin": _unary(torch.asin),
    "atan": _unary(torch.atan),
    "batch_norm": _batch_norm,
    # The type of the result is the variable's, which the interpreter rounds every result to.
    "cast": _unary(lambda x: x),
    "ceil": _unary(torch.ceil),
    "clamped_relu": lambda a: functional.leaky_relu(a["x"], float(a["alpha"])).clamp(max=float(a["beta"])),
    "classify": _classify,
    "clip": _clip,
    "cos": _unary(torch.cos),
    "cumsum": _cumsum,
    "einsum": lambda a: torch.einsum(str(a["equation"]), *[tensor(value) for value in a["values"]]),
    "elu": lambda a: functional.elu(a["x"], float(a.get("alpha", 1.0))),
    "equal": _binary(torch.eq),
    "erf": _unary(torch.erf),
    "exp": _unary(torch.exp),
    "exp2": _unary(torch.exp2),
    "floor": _unary(torch.floor),
    "floor_div": _binary(torch.floor_divide),
    "gelu": _gelu,
    "greater": _binary(torch.gt),
    "greater_equal": _binary(torch.ge),
    "instance_norm": _instance_norm,
    "inverse": lambda a: 1 / (a["x"] + float(a.get("epsilon", 1e-4))),
    "l2_norm": _l2_norm,
    "layer_norm": _layer_norm,
    "leaky_relu": lambda a: functional.leaky_relu(a["x"], float(a.get("alpha", 0.01))),
    "less": _binary(torch.lt),
    "less_equal": _binary(torch.le),
    "linear": _linear,
    "linear_activation": lambda a: float(a["alpha"]) * a["x"] + float(a.get("beta", 0.0)),
    "local_response_norm": _local_response_norm,
    "log": lambda a: torch.log(a["x"] + float(a.get("epsilon", 1e-45))),
    "logical_and": _binary(torch.logical_and),
    "logical_not": _unary(torch.logical_not),
    "logical_or": _binary(torch.logical_or),
    "logical_xor": _binary(torch.logical_xor),
    "matmul": _matmul,
    "maximum": _binary(torch.maximum),
    "minimum": _binary(torch.minimum),
    "mod": _binary(torch.remainder),
    "mul": _binary(torch.mul),
    "not_equal": _binary(torch.ne),
    "pow": _binary(torch.pow),
    "prelu": _prelu,
    "real_div": _binary(torch.div),
    "reduce_argmax": _places(torch.argmax),
    "reduce_argmin": _places(torch.argmin),
    "reduce_l1_norm": _reduce(lambda x, **how: x.abs().sum(**how)),
    "reduce_l2_norm": _reduce(lambda x, **how: x.square().sum(**how).sqrt()),
    "reduce_log_sum_exp": _reduce(torch.logsumexp),
    "reduce_max": _reduce(torch.amax),
    "reduce_mean": _reduce(torch.mean),
    "reduce_min": _reduce(torch.amin),
    "reduce_prod": _reduce(_reduce_prod),
    "reduce_sum": _reduce(torch.sum),
    "reduce_sum_square": _reduce(lambda x, **how: x.square().sum(**how)),
    "relu": _unary(torch.relu),
    "relu6": _unary(functional.relu6),
    "round": _unary(torch.round),
    "rsqrt": lambda a: torch.rsqrt(a["x"] + float(a.get("epsilon", 1e-12))),
    "scaled_dot_product_attention": _attention,
    "scaled_tanh": lambda a: float(a.get("alpha", 1.0)) * torch.tanh(float(a.get("beta", 1.0)) * a["x"]),
    "select": _select,
    "sigmoid": _unary(torch.sigmoid),
    "sigmoid_hard": _sigmoid_hard,
    "sign": _unary(torch.sign),
    "silu": _unary(functional.silu),
    "sin": _unary(torch.sin),
    "softmax": _softmax,
    "softplus": _unary(functional.softplus),
    "softsign": _unary(functional.softsign),
    "sqrt": _unary(torch.sqrt),
    "square": _unary(torch.square),
    "sub": _binary(torch.sub),
    "tanh": _unary(torch.tanh),
    "threshold": lambda a: a["x"].clamp(min=float(a["alpha"])),
    "thresholded_relu": _thresholded_relu,
}
