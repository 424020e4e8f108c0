"""A generative adversarial network: two networks, each with an optimizer of its own."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import relu
from torch.nn.utils.parametrizations import spectral_norm

from model import MInterface


class Generator(nn.Module):
    """Makes images out of noise.

    Args:
        latent_size: Numbers of the noise.
        width: Channels before the last layer.
        channels: Channels of an image.
        image_size: Pixels of a side, a multiple of 4.
    """

    def __init__(self, latent_size: int, width: int, channels: int, image_size: int) -> None:
        super().__init__()
        self.latent_size, side = latent_size, image_size // 4
        self.layers = nn.Sequential(
            nn.Linear(latent_size, 2 * width * side**2),
            nn.Unflatten(1, (2 * width, side, side)),
            *(nn.BatchNorm2d(2 * width), nn.ReLU(), nn.Upsample(scale_factor=2)),
            nn.Conv2d(2 * width, width, 3, padding=1),
            *(nn.BatchNorm2d(width), nn.ReLU(), nn.Upsample(scale_factor=2)),
            *(nn.Conv2d(width, channels, 3, padding=1), nn.Sigmoid()),
        )

    def forward(self, images: Tensor) -> Tensor:
        """As many new images as there are in a batch, (B, C, S, S), float32 in [0, 1]."""
        noise = torch.randn(len(images), self.latent_size, device=images.device)
        made: Tensor = self.layers(noise)
        return made


class Discriminator(nn.Sequential):
    """Tells how real images (B, C, S, S) look, (B, 1); spectral norm keeps it smooth.

    Args:
        width: Channels of its first layer.
        channels: Channels of an image.
        image_size: Pixels of a side, a multiple of 4.
    """

    def __init__(self, width: int, channels: int, image_size: int) -> None:
        super().__init__(
            *(spectral_norm(nn.Conv2d(channels, width, 3, padding=1)), nn.LeakyReLU(0.2)),
            spectral_norm(nn.Conv2d(width, 2 * width, 4, stride=2, padding=1)),
            *(nn.LeakyReLU(0.2), nn.Flatten()),
            spectral_norm(nn.Linear(2 * width * (image_size // 2) ** 2, 1)),
        )


class Gan(MInterface):
    """A generator, `net`, and a discriminator that learn from each other, by the hinge loss.

    Args:
        latent_size: Numbers of the noise that an image is made of.
        width: Channels of both networks.
        critic_steps: Steps of the discriminator for each of the generator.
        in_channels: Channels of an image; told by the data.
        image_size: Pixels of a side, a multiple of 4; told by the data.
        options: Those of every network.

    Source: Miyato et al., Spectral Normalization for Generative Adversarial Networks, 2018,
    https://arxiv.org/abs/1802.05957
    """

    def __init__(
        self,
        latent_size: int = 32,
        width: int = 32,
        critic_steps: int = 2,
        in_channels: int = 1,
        image_size: int = 8,
        **options: Any,
    ) -> None:
        super().__init__(Generator(latent_size, width, in_channels, image_size), **options)
        self.discriminator = Discriminator(width, in_channels, image_size)
        self.critic_steps = critic_steps
        self.alternate(discriminator=critic_steps, net=1)

    def step(self, batch: Any, stage: str) -> dict[str, Any]:
        """Lets the discriminator step, then the generator; labels are not looked at."""
        (real, *_), _ = self.split_batch(batch)

        def critic_loss() -> Tensor:
            is_real, is_fake = self.discriminator(real), self.discriminator(self(real).detach())
            return relu(1 - is_real).mean() + relu(1 + is_fake).mean()

        for _ in range(self.critic_steps):
            critic = self.minimize("discriminator", critic_loss)
        loss = self.minimize("net", lambda: -self.discriminator(self(real)).mean())
        return {"loss": loss, "critic_loss": critic}

    def on_validation_epoch_end(self) -> None:
        """Shows 64 samples, in each epoch of the same noise."""
        super().on_validation_epoch_end()
        self.show("samples", self(torch.empty(64, device=self.device)))
