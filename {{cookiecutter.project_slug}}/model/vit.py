"""A small vision transformer."""

import torch
from torch import Tensor, nn

from core.errors import UsageError


class ViT(nn.Module):
    """Cuts images into patches and classifies the sequence of patches with a transformer.

    Args:
        image_size: Width and height of the images in pixels.
        num_classes: Number of outputs.
        in_channels: Channels of the images.
        patch_size: Width and height of a patch in pixels; divides image_size.
        dim: Width of the tokens.
        depth: Number of transformer blocks.
        num_heads: Attention heads per block; divides dim.
        mlp_ratio: Width of the blocks' hidden layer, in multiples of dim.
        dropout: Probability of dropping a unit in the blocks.

    Raises:
        UsageError: patch_size does not divide image_size, or num_heads not dim.

    Source: Dosovitskiy et al., An Image is Worth 16x16 Words, https://arxiv.org/abs/2010.11929;
    without class token: the mean of all tokens is classified, as in https://arxiv.org/abs/2205.01580.
    """

    def __init__(
        self,
        image_size: int,
        num_classes: int,
        in_channels: int = 3,
        patch_size: int = 4,
        dim: int = 128,
        depth: int = 6,
        num_heads: int = 4,
        mlp_ratio: float = 4.0,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if image_size % patch_size:
            raise UsageError(f"--patch_size {patch_size}: expected a divisor of {image_size}")
        if dim % num_heads:
            raise UsageError(f"--num_heads {num_heads}: expected a divisor of --dim {dim}")
        self.to_patches = nn.Conv2d(in_channels, dim, patch_size, stride=patch_size)
        self.position = nn.Parameter(0.02 * torch.randn(1, (image_size // patch_size) ** 2, dim))
        block = nn.TransformerEncoderLayer(
            dim, num_heads, int(mlp_ratio * dim), dropout, "gelu", batch_first=True, norm_first=True
        )
        self.blocks = nn.TransformerEncoder(block, depth, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(dim)
        self.head = nn.Linear(dim, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, num_classes) of images (B, in_channels, image_size, image_size)."""
        tokens = self.to_patches(x).flatten(2).transpose(1, 2)  # (B, patches, dim)
        tokens = self.blocks(tokens + self.position)
        logits: Tensor = self.head(self.norm(tokens.mean(dim=1)))
        return logits
