# Copyright (c) Nobody in particular.
# All rights reserved.
import torch
import torch.nn as nn
import torch.nn.functional as F
try:
    from timm.models.layers_that_moved import trunc_normal_, DropPath
except ImportError:
    from torch.nn.init import trunc_normal_

    class DropPath(nn.Module):
        def __init__(self, drop_prob=0.):
            super().__init__()
            self.drop_prob = drop_prob

        def forward(self, x):
            if self.drop_prob == 0. or not self.training:
                return x
            keep = 1 - self.drop_prob
            return x * x.new_empty((x.shape[0],) + (1,) * (x.ndim - 1)).bernoulli_(keep) / keep
try:
    import apex  # noqa
    has_apex = True
except Exception:
    has_apex = False


class Block(nn.Module):
    r"""ConvNeXt Block: DwConv -> LayerNorm -> 1x1 -> GELU -> 1x1

    Parameters
    ----------
    dim : int
        Number of input channels.
    drop_path : float
        Stochastic depth rate. Default: 0.0
    layer_scale_init_value : float
        Init value for Layer Scale. Default: 1e-6.
    """
    def __init__(self, dim, drop_path=0., layer_scale_init_value=1e-6):
        super().__init__()
        self.dwconv = nn.Conv2d(dim, dim, kernel_size=7, padding=3, groups=dim)
        self.norm = LayerNorm(dim, eps=1e-6)
        self.pwconv1 = nn.Linear(dim, 2 * dim)
        self.pwconv2 = nn.Linear(2 * dim, dim)
        self.gamma = nn.Parameter(layer_scale_init_value * torch.ones((dim)),
                                    requires_grad=True) if layer_scale_init_value > 0 else None
        self.drop_path = DropPath(drop_path) if drop_path > 0. else nn.Identity()

    def forward(self, x):
        input = x
        x = self.dwconv(x).permute(0, 2, 3, 1) # (N, C, H, W) -> (N, H, W, C)
        x = self.pwconv2(F.gelu(self.pwconv1(self.norm(x))))
        if self.gamma is not None:
            x = self.gamma * x
        return input + self.drop_path(x.permute(0, 3, 1, 2))

class ConvNeXt(nn.Module):
    r"""ConvNeXt

    Parameters
    ----------
    in_chans : int
        Number of input image channels. Default: 3
    num_classes : int, optional
        Number of classes for classification head. Default: 1000
    depths : tuple of int
        Number of blocks at each stage.
    dims : list of int
        Feature dimension at each stage.
    drop_path_rate : float
        Stochastic depth rate. Default: 0.
    head_init_scale : float
        Init scaling value for classifier weights and biases. Default: 1.
    """
    def __init__(self, in_chans=3, num_classes=1000,
                 depths=(1, 1), dims=[8, 16], drop_path_rate=0.,
                 layer_scale_init_value=1e-6, head_init_scale=1.,
                 ):
        super().__init__()
        self.stages = nn.Sequential()
        dp_rates=[x.item() for x in torch.linspace(0, drop_path_rate, sum(depths))]
        cur, prev = 0, in_chans
        for i in range(len(depths)):
            self.stages.append(nn.Conv2d(prev, dims[i], kernel_size=4 if i == 0 else 2, stride=4 if i == 0 else 2))
            for j in range(depths[i]):
                self.stages.append(Block(dims[i], dp_rates[cur + j], layer_scale_init_value))
            cur += depths[i]
            prev = dims[i]
        self.norm = nn.LayerNorm(dims[-1], eps=1e-6) # final norm layer
        self.head = nn.Linear(dims[-1], num_classes)
        self.apply(self._init_weights)
        self.head.weight.data.mul_(head_init_scale)

    def _init_weights(self, m):
        if isinstance(m, (nn.Conv2d, nn.Linear)):
            trunc_normal_(m.weight, std=.02)
            nn.init.constant_(m.bias, 0)

    def forward(self, x):
        return self.head(self.norm(self.stages(x).mean([-2, -1])))

class LayerNorm(nn.LayerNorm):
    """channels_last only"""

def convnext_femto(pretrained=False,in_22k=False, **kwargs):
    model = ConvNeXt(depths=[1, 2], dims=[6, 12], **kwargs)
    if pretrained:
        raise NotImplementedError
    return model
