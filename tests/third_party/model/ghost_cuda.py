import torch.nn as nn
from selective_scan_cuda_ext import selective_scan_fn  # pip install . in ./kernels first


class GhostCuda(nn.Module):
    def __init__(self, num_classes=10):
        super().__init__()
        self.fc = nn.Linear(3, num_classes)

    def forward(self, x):
        return self.fc(selective_scan_fn(x))
