"""Networks that make one sequence of another."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from model import MInterface

PAD, START = 0, 1  # tokens: what fills a sequence up, and what stands before its first


class AttentionGRU(nn.Module):
    """An encoder and a decoder, which looks at all of the encoder's states.

    Token 0 is padding: it changes nothing in a sequence that is filled up with it.

    Args:
        vocab_size: Number of tokens.
        width: Size of the states.

    Source: Luong et al., Effective Approaches to Attention-based Neural Machine Translation,
    https://arxiv.org/abs/1508.04025; scaled dot products, and GRUs in place of LSTMs.
    """

    def __init__(self, vocab_size: int, width: int = 64) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, width, padding_idx=PAD)
        self.encoder = nn.GRU(width, width // 2, batch_first=True, bidirectional=True)
        self.decoder = nn.GRU(width, width, batch_first=True)
        self.query = nn.Linear(width, width)
        self.combine = nn.Linear(2 * width, width)
        self.logits = nn.Linear(width, vocab_size)

    def forward(self, source: Tensor, previous: Tensor) -> Tensor:
        """Logits (B, T, vocab_size) of each next token.

        Args:
            source: (B, S), int64.
            previous: The tokens before, (B, T), int64: `START`, then all but the last of the
                target.
        """
        memory, state = self.encode(source)
        return self.decode(previous, state, memory, source != PAD)[0]

    def encode(self, source: Tensor) -> tuple[Tensor, Tensor]:
        """States (B, S, width) of each token, and (1, B, width) of the whole."""
        lengths = (source != PAD).sum(1).cpu()
        packed = pack_padded_sequence(
            self.embedding(source), lengths, batch_first=True, enforce_sorted=False
        )
        states, last = self.encoder(packed)  # last: (2, B, width / 2), of both directions
        memory, _ = pad_packed_sequence(states, batch_first=True, total_length=source.shape[1])
        return memory, torch.cat([*last], dim=1)[None]

    def decode(
        self, previous: Tensor, state: Tensor, memory: Tensor, is_token: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Logits (B, T, vocab_size), and the state (1, B, width) after the last token."""
        states, state = self.decoder(self.embedding(previous), state)
        context = scaled_dot_product_attention(
            self.query(states), memory, memory, attn_mask=is_token[:, None]
        )
        logits: Tensor = self.logits(self.combine(torch.cat([states, context], 2)).tanh())
        return logits, state

    def generate(self, source: Tensor, length: int) -> Tensor:
        """The likeliest tokens (B, length), one after the other."""
        memory, state = self.encode(source)
        tokens = [torch.full_like(source[:, :1], START)]
        for _ in range(length):
            logits, state = self.decode(tokens[-1], state, memory, source != PAD)
            tokens.append(logits.argmax(2))
        return torch.cat(tokens[1:], dim=1)


class Translator(MInterface):
    """Trains an `AttentionGRU` to go on from the true tokens; predicts from its own.

    The metric `exact_match` is that of both: where all are right given those before, they are so in
    a row.

    Args:
        vocab_size: Number of tokens.
        width: Size of the states.
        options: Those of every network.
    """

    def __init__(self, vocab_size: int, width: int = 64, **options: Any) -> None:
        super().__init__(AttentionGRU(vocab_size, width), **options)

    def split_batch(self, batch: Any) -> tuple[Any, Any]:
        """Moves the target on by one, so that each token is told from those before it."""
        source, target = batch
        start = torch.full_like(target[:, :1], START)
        return (source, torch.cat([start, target[:, :-1]], dim=1)), target

    def predict_step(self, batch: Any, batch_idx: int) -> dict[str, Tensor]:
        """Tokens (B, T), for as long as the longest source and an end."""
        source, _ = batch
        return {"tokens": self.net.generate(source, source.shape[1] + 1)}  # type: ignore[operator]
