"""The averaged weights that a training ends with."""

import torch


class Average:
    """An exponential moving average of a network's weights."""

    def __init__(self, network: torch.nn.Module, decay: float = 0.995) -> None:
        self.decay = decay
        self.weights = {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}

    def update(self, network: torch.nn.Module) -> None:
        """Move the average towards the network."""
        for name, tensor in network.state_dict().items():
            if tensor.is_floating_point():
                self.weights[name].lerp_(tensor, 1 - self.decay)
            else:
                self.weights[name].copy_(tensor)
