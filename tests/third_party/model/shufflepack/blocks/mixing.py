from torch import nn


class Mixing(nn.Module):
    def __init__(self, i, o):
        super().__init__()
        self.dw = nn.Conv2d(i, i, 4, 4, groups=i)
        self.pw = nn.Conv2d(i, o, 1)

    def forward(self, x):
        return self.pw(self.dw(x)).relu()
