import torch.nn as nn


class DictNet(nn.Module):
    def __init__(self, num_labels=10):
        super().__init__()
        self.body = nn.Conv2d(3, 8, 4, 4)
        self.head = nn.Linear(8, num_labels)

    def forward(self, pixel_values, labels=None):
        feats = self.body(pixel_values).mean((2, 3))
        logits = self.head(feats)
        out = {'logits': logits, 'hidden_states': feats}
        if labels is not None:
            out['loss'] = nn.functional.cross_entropy(logits, labels)
        return out
