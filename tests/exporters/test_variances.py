"""Every way to ask torch for a variance, as means."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from exporters.variances import variances, without_variances
from tests.exporters.networks import Function

VALUES = torch.randn(4, 3, 5, 6, generator=torch.Generator().manual_seed(0))


def _both(pair: tuple[Tensor, Tensor]) -> Tensor:
    return pair[0] + 2 * pair[1]


@pytest.mark.parametrize(
    "asked",
    [
        lambda x: x.var(),
        lambda x: x.var(False),
        lambda x: x.var((1, 2, 3)),
        lambda x: x.var((0, 2), unbiased=False, keepdim=True),
        lambda x: x.var(-1, correction=3),
        lambda x: x.std(unbiased=False),
        lambda x: x.std((2, 3), keepdim=True),
        lambda x: _both(torch.var_mean(x)),
        lambda x: _both(torch.var_mean(x, (1, 2), keepdim=True)),
        lambda x: _both(torch.var_mean(x, dim=3, correction=0)),
        lambda x: _both(torch.std_mean(x, (0, 3), unbiased=False)),
        lambda x: _both(torch.std_mean(x, False)),
        lambda x: functional.batch_norm(x, None, None, torch.ones(3) * 2, torch.ones(3), training=True),
    ],
)
def test_is_what_torch_computes(asked: Callable[[Tensor], Tensor]) -> None:
    program = torch.export.export(Function(asked), (VALUES,))
    if any("batch_norm" in str(node.target) for node in program.graph.nodes):
        program = program.run_decompositions({**torch.export.default_decompositions(), **variances()})
    means = without_variances(program)
    assert not {node.target for node in means.graph.nodes} & variances().keys()
    torch.testing.assert_close(means.module()(VALUES), asked(VALUES))


def test_a_program_without_any_stays_as_it_is() -> None:
    program = torch.export.export(Function(torch.relu), (VALUES,))
    assert without_variances(program) is program
