import torch.nn as nn


class C3D(nn.Module):
    """treats the colours as depth"""
    def __init__(self, nclasses=10):
        super().__init__()
        self.conv = nn.Conv3d(1, 8, (3, 4, 4), stride=(1, 4, 4))
        self.fc = nn.Linear(8, nclasses)

    def forward(self, x):
        return self.fc(self.conv(x.unsqueeze(1)).relu().mean((2, 3, 4)))
