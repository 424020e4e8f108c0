from torch import nn

pair = lambda x: x if isinstance(x, (tuple, list)) else (x, x)

class PreNormResidual(nn.Module):
    def __init__(self, dim, fn):
        super().__init__()
        self.fn = fn
        self.norm = nn.LayerNorm(dim)
    def forward(self, x): return self.fn(self.norm(x)) + x

class T(nn.Module):
    def __init__(self, fn):
        super().__init__()
        self.fn = fn
    def forward(self, x): return self.fn(x.transpose(1, 2)).transpose(1, 2)

class MLPMixer(nn.Module):
    def __init__(self, image_size=32, channels=3, patch_size=(8, 8), dim=16, depth=2, num_classes=10, expansion_factor=2, dropout=0., act=lambda: nn.GELU()):
        super().__init__()
        (ih, iw), (ph, pw) = pair(image_size), pair(patch_size)
        n = (ih // ph) * (iw // pw)
        ff = lambda d: nn.Sequential(nn.Linear(d, d * expansion_factor), act(), nn.Dropout(dropout), nn.Linear(d * expansion_factor, d))
        self.embed = nn.Conv2d(channels, dim, (ph, pw), (ph, pw))
        self.mix = nn.Sequential(*[nn.Sequential(PreNormResidual(dim, T(ff(n))), PreNormResidual(dim, ff(dim))) for _ in range(depth)])
        self.head = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, num_classes))
    def forward(self, x): return self.head(self.mix(self.embed(x).flatten(2).transpose(1, 2)).mean(1))
