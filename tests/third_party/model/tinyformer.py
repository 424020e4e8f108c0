"""
Full definition of the model, all of it in this single file, config as dataclass.
"""
from __future__ import annotations

from dataclasses import dataclass, field

import torch
import torch.nn as nn
from torch.nn import functional as F


@dataclass
class TinyFormerConfig:
    image_size: int = 32
    patch_size: int = 8
    n_layer: int = 1
    n_head: int = 2
    n_embd: int = 16
    dropout: float = 0.0
    bias: bool = True # True: bias in Linears and LayerNorms
    n_classes: int = 10
    mean: list[float] = field(default_factory=lambda: [0.5, 0.5, 0.5])


class SelfAttention(nn.Module):

    def __init__(self, config):
        super().__init__()
        assert config.n_embd % config.n_head == 0
        self.c_attn = nn.Linear(config.n_embd, 3 * config.n_embd, bias=config.bias)
        self.n_head = config.n_head

    def forward(self, x, mask=None):
        B, T, C = x.size()
        q, k, v = (t.view(B, T, self.n_head, C // self.n_head).transpose(1, 2) for t in self.c_attn(x).split(C, dim=2))
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return y.transpose(1, 2).contiguous().view(B, T, C)


class TinyFormer(nn.Module):

    def __init__(self, config: TinyFormerConfig = TinyFormerConfig()):
        super().__init__()
        self.config = config
        self.wte = nn.Conv2d(3, config.n_embd, config.patch_size, config.patch_size)
        self.wpe = nn.Embedding((config.image_size // config.patch_size) ** 2, config.n_embd)
        self.h = nn.ModuleList([SelfAttention(config) for _ in range(config.n_layer)])
        self.head = nn.Linear(config.n_embd, config.n_classes, bias=False)
        print("number of parameters: %.2fK" % (self.get_num_params()/1e3,))

    def get_num_params(self):
        return sum(p.numel() for p in self.parameters())

    def forward(self, x, mask=None):
        x = self.wte(x).flatten(2).mT
        x = x + self.wpe(torch.arange(x.size(1), device=x.device))
        for blk in self.h:
            x = x + blk(x, mask)
        return self.head(x.mean(1))
