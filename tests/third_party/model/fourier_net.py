import math
import torch
import torch.nn as nn

# DCT table, built once
N = 32
_k = torch.arange(N).float()
DCT = torch.cos(math.pi / N * (_k[None, :] + 0.5) * _k[:, None])

class FNet(nn.Module):
    def __init__(self, keep=8, num_classes=10):
        super().__init__()
        self.keep = keep
        self.register_buffer('dct', DCT.clone())
        self.fc = nn.Linear(3 * keep * keep, num_classes)

    def forward(self, x):
        f = self.dct @ x @ self.dct.t() / N ** 1.5
        return self.fc(f[:, :, :self.keep, :self.keep].flatten(1))

model = FNet()
n_params = sum(p.numel() for p in model.parameters() if p.requires_grad)
assert model(torch.zeros(1, 3, 32, 32)).shape == (1, 10)
