import torch.nn as nn


class MLP(nn.Module):
    """MLP(3072, 16, 10) or MLP() for the usual"""
    def __init__(self, *dims, act=nn.Tanh):
        super().__init__()
        dims = dims or (3072, 16, 10)
        m = []
        for a, b in zip(dims, dims[1:]): m += [nn.Linear(a, b), act()]
        self.m = nn.Sequential(nn.Flatten(), *m[:-1])

    def forward(self, x):
        return self.m(x)


class VarMLP(MLP):
    pass
