"""Language models of characters: a recurrent network, and a table to hold it against."""

import math
from typing import Any

from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from model import MInterface


class Recurrent(nn.Module):
    """Predicts each next token from all before.

    Args:
        vocab_size: Number of tokens, V.
        width: Size of the state, W.
        num_layers: Of the recurrent network, L.
        dropout: Between its layers.
    """

    def __init__(self, vocab_size: int, width: int, num_layers: int, dropout: float) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, width)
        self.rnn = nn.GRU(width, width, num_layers, batch_first=True, dropout=dropout)
        self.head = nn.Linear(width, vocab_size)

    def forward(self, tokens: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Logits (B, T, V) of what follows tokens (B, T), and the state (L, B, W) after them."""
        features, state = self.rnn(self.embedding(tokens), state)
        return self.head(features), state


class CharRNN(MInterface):
    """Trains with truncated back-propagation through time.

    In training the state goes on from batch to batch, for a dataset whose batches are in lanes;
    gradients do not. A checkpoint holds the state. Elsewhere each part of the text begins anew.

    Args:
        vocab_size: Number of tokens; told by the data.
        width: Size of the state.
        num_layers: Of the recurrent network.
        dropout: Between its layers.
        options: Those of every network.
    """

    def __init__(
        self,
        vocab_size: int,
        width: int = 256,
        num_layers: int = 2,
        dropout: float = 0.1,
        **options: Any,
    ) -> None:
        super().__init__(Recurrent(vocab_size, width, num_layers, dropout), **options)
        self.state: Tensor | None = None  # (L, B, W)

    def step(self, batch: Any, stage: str) -> dict[str, Any]:
        """The mean loss of a character, also in bits."""
        tokens, following = batch
        logits, state = self.net(tokens, self.state if stage == "train" else None)
        if stage == "train":
            self.state = state.detach()
        return measured(logits, following)

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Begins the text anew with each epoch."""
        if batch_idx == 0:
            self.state = None

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keeps the state of each process, (processes, L, B, W)."""
        if self.state is not None:
            of_all: Any = self.all_gather(self.state)
            checkpoint["state"] = of_all.view(-1, *self.state.shape)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Goes on with that of this process; with another number of them, anew."""
        states = checkpoint.get("state", ())
        if self._trainer and len(states) == self.trainer.world_size:
            self.state = states[self.global_rank].to(self.device)


class Bigram(nn.Module):
    """Predicts each next token from the one before it alone.

    Args:
        vocab_size: Number of tokens; told by the data.
    """

    def __init__(self, vocab_size: int) -> None:
        super().__init__()
        self.table = nn.Embedding(vocab_size, vocab_size)

    def step(self, batch: Any, stage: str) -> dict[str, Any]:
        """The mean loss of a character, also in bits."""
        tokens, following = batch
        return measured(self.table(tokens), following)


def measured(logits: Tensor, following: Tensor) -> dict[str, Tensor]:
    """The mean loss of logits (B, T, V) for tokens (B, T), and the same in bits."""
    loss = cross_entropy(logits.flatten(0, 1), following.flatten())
    return {"loss": loss, "bits": loss.detach() / math.log(2)}
