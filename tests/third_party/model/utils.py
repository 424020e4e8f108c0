import torch


def channel_shuffle(x, groups):
    n, c, h, w = x.size()
    return x.view(n, groups, c // groups, h, w).permute(0, 2, 1, 3, 4).reshape(n, c, h, w)


def count_parameters(model):
    return sum(p.numel() for p in model.parameters())


@torch.no_grad()
def accuracy(output, target):
    return (output.argmax(1) == target).float().mean()
