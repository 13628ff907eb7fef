"""A recurrent controller that spells networks gene by gene (Zoph & Le 2017; Zoph et al. 2018)."""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pipeline.search.candidates import CodeArray

Active = Callable[[CodeArray], NDArray[np.bool_]]
_HIDDEN = 64
_RATE = 0.02  # a search judges hundreds of networks, not the published 12,800 at 0.00035
_ENTROPY = 1e-3
_CLIP = 0.2
_EPOCHS = 4


class RecurrentController(nn.Module):
    """One LSTM over the genes, one softmax head for each; the option that was taken is the next input.

    Genes that a network lacks are passed over: they have no probability, no gradient, and the state stays.
    """

    def __init__(self, cardinalities: tuple[int, ...], seed: int) -> None:
        super().__init__()
        self._cardinalities = cardinalities
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.cell = nn.LSTMCell(_HIDDEN, _HIDDEN)
            self.taken = nn.ModuleList(nn.Embedding(options, _HIDDEN) for options in cardinalities)
            self.heads = nn.ModuleList(nn.Linear(_HIDDEN, options) for options in cardinalities)
            self.start = nn.Parameter(0.1 * torch.randn(_HIDDEN))
        for head in self.heads:
            nn.init.zeros_(head.get_parameter("weight"))  # every option is as likely as the others
            nn.init.zeros_(head.get_parameter("bias"))
        self.optimizer = torch.optim.Adam(self.parameters(), _RATE)

    def log_probability(self, rows: CodeArray, active: NDArray[np.bool_]) -> tuple[Tensor, Tensor]:
        """Log probability (n,) of each row, and the summed entropy (n,) of the choices that led there."""
        codes, mask = torch.from_numpy(rows.astype(np.int64)), torch.from_numpy(active)
        total, entropy = torch.zeros(len(rows)), torch.zeros(len(rows))
        state = self._begin(len(rows))
        for gene in range(len(self._cardinalities)):
            logs = self.heads[gene](state[1]).log_softmax(1)
            there = mask[:, gene]
            total = total + there * logs.gather(1, codes[:, [gene]])[:, 0]
            entropy = entropy - there * (logs.exp() * logs).sum(1)
            state = self._after(gene, codes[:, gene], there, state)
        return total, entropy

    @torch.no_grad()
    def draw(self, n: int, active: Active, rng: np.random.Generator) -> CodeArray:
        """Rows (n, genes) from the policy; `active` tells which genes rows have, from the genes before them."""
        rows = np.zeros((n, len(self._cardinalities)), dtype=np.uint8)
        state = self._begin(n)
        for gene in range(len(self._cardinalities)):
            edges = self.heads[gene](state[1]).softmax(1).cumsum(1).numpy()
            edges[:, -1] = 1.0
            there = active(rows)[:, gene]
            rows[:, gene] = np.where(there, (rng.random((n, 1)) > edges).sum(1), 0)
            state = self._after(gene, torch.from_numpy(rows[:, gene].astype(np.int64)), torch.from_numpy(there), state)
        return rows

    def reinforce(self, rows: CodeArray, active: NDArray[np.bool_], advantages: Tensor) -> None:
        """One ascent of `advantages` (n,) * log probability of `rows` (n, genes), whose `active` (n, genes) genes
        count, plus a little entropy (Williams 1992)."""
        logs, entropy = self.log_probability(rows, active)
        self._ascend((advantages * logs + _ENTROPY * entropy).mean())

    def clipped(self, rows: CodeArray, active: NDArray[np.bool_], advantages: Tensor) -> None:
        """Several ascents on one batch (shapes as in `reinforce`), none rewarded for moving a network's chance by more
        than a fifth (Schulman et al. 2017, eq. 7)."""
        with torch.no_grad():
            before, _ = self.log_probability(rows, active)
        for _ in range(_EPOCHS):
            logs, entropy = self.log_probability(rows, active)
            self._ascend((clipped_gain((logs - before).exp(), advantages) + _ENTROPY * entropy).mean())

    def _ascend(self, gain: Tensor) -> None:
        self.optimizer.zero_grad()
        (-gain).backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.parameters(), 1.0)
        self.optimizer.step()

    def _begin(self, n: int) -> tuple[Tensor, Tensor]:
        """Cell and hidden state before the first gene."""
        hidden, cell = self.cell(self.start.expand(n, -1))
        return cell, hidden

    def _after(self, gene: int, options: Tensor, there: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        hidden, cell = self.cell(self.taken[gene](options), (state[1], state[0]))
        keep = there[:, None]
        return torch.where(keep, cell, state[0]), torch.where(keep, hidden, state[1])


def clipped_gain(ratio: Tensor, advantages: Tensor) -> Tensor:
    """min(ratio A, clip(ratio, 0.8, 1.2) A), shape (n,) as both."""
    return torch.minimum(ratio * advantages, ratio.clamp(1 - _CLIP, 1 + _CLIP) * advantages)
