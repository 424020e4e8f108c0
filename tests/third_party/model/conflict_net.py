"""Every name that a trainer might want for itself."""
import torch
import torch.nn as nn


class ConflictNet(nn.Module):
    def __init__(self, loss='ce', lr=0.1, name='conflict', num_classes=10, batch_size=4, optimizer='sgd', data=None, model_name=None):
        super().__init__()
        self.loss = nn.CrossEntropyLoss()
        self.metrics = {'acc': []}
        self.hparams = dict(loss=loss, lr=lr)
        self.log = []
        self.logger = None
        self.trainer = 'me'
        self.lr = lr
        self._name = name
        self.model = nn.Conv2d(3, num_classes, 4, 4)
        self.criterion = self.loss

    @property
    def name(self):
        return self._name

    @property
    def device(self):
        return next(self.parameters()).device

    def training_step_(self, batch):
        raise NotImplementedError

    def configure_optimizers(self):
        raise RuntimeError('from another framework, never call this')

    def step(self, batch):
        raise RuntimeError('nobody calls this')

    def on_train_epoch_start(self, a, b, c):
        raise RuntimeError('nobody calls this')

    def forward(self, x):
        out = self.model(x.to(self.device)).mean((2, 3))
        self.log.append(out.shape)
        return out
