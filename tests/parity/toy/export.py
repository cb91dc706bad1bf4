"""The modules of the toy's two components: its bundles are stale when this file changes."""

import torch

WIDTH, CLASSES, FRAMES = 48, 48, 6
UNUSED = 16  # features of a head with outliers


class Encoder(torch.nn.Module):
    def __init__(self, seed=0):
        super().__init__()
        torch.manual_seed(seed)
        self.layer = torch.nn.Linear(WIDTH, WIDTH)

    def forward(self, x):
        return torch.tanh(self.layer(x))


class Overflowing(Encoder):
    """What passes 65,504 on the way: right in float32, infinite in float16."""

    def forward(self, x):
        y = self.layer(x) * 300.0
        return torch.tanh((y * y * y).sum(-1, keepdim=True) * 1e-9 + self.layer(x))


class Head(torch.nn.Module):
    def __init__(self, outlier=False):
        super().__init__()
        torch.manual_seed(1)
        self.head = torch.nn.Linear(WIDTH, CLASSES)
        if outlier:  # so large that neither a scale a channel nor 16 values leave anything of the other weights
            with torch.no_grad():
                self.head.weight[:, :UNUSED] = 500.0 * torch.arange(1, UNUSED + 1)
                self.head.bias.zero_()

    def forward(self, y):
        return self.head(y)


class Quiet(torch.nn.Module):
    """Feeds the head zeros in its first features, so that its outliers do no harm while the weights are whole."""

    def __init__(self, encoder):
        super().__init__()
        self.encoder = encoder
        mask = torch.ones(WIDTH)
        mask[:UNUSED] = 0
        self.register_buffer("mask", mask)

    def forward(self, x):
        return self.encoder(x) * self.mask
