import torch.nn as nn


class FeatureNet(nn.Module):
    """Returns logits and the features for center loss."""

    def __init__(self, feat_dim=8, num_classes=10):
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(3, feat_dim, 4, 4), nn.PReLU())
        self.fc = nn.Linear(feat_dim, num_classes)

    def forward(self, x):
        feat = self.backbone(x).mean((2, 3))
        return self.fc(feat), feat
