"""Small networks that tests load as a lab's own."""

import torch
from torch import nn


class Plain(nn.Module):
    """Convolutions whose rectifications write into what came before them, and a residual."""

    def __init__(self, channels=3, classes=4):
        super().__init__()
        self.one = nn.Conv2d(channels, 5, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(5)
        self.relu = nn.ReLU(inplace=True)
        self.two = nn.Conv2d(5, 5, 3, padding=1)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(5, classes)
        self.norm.running_mean.fill_(0.1)
        self.norm.running_var.fill_(2.0)

    def forward(self, x):
        x = self.relu(self.norm(self.one(x)))
        y = self.two(x)
        y += x  # writes into what `two` handed on
        y = self.relu(y)
        return self.head(self.pool(y).flatten(1))


class Window(nn.Module):
    """Four layers of known receptive fields: 3, 7, 11, all."""

    def __init__(self):
        super().__init__()
        self.a = nn.Conv2d(3, 2, 3, padding=1)
        self.b = nn.Conv2d(2, 2, 5, padding=2)
        self.pool = nn.MaxPool2d(3, 2, padding=1)
        self.c = nn.Conv2d(2, 2, 1)
        self.all = nn.Linear(2 * 16 * 16, 3)

    def forward(self, x):
        x = self.c(self.pool(torch.relu(self.b(torch.relu(self.a(x))))))
        return self.all(x.flatten(1))


def broken(x):
    raise ArithmeticError(f"no {x}")


class Fails(nn.Module):
    def forward(self, x):
        raise ArithmeticError(f"lost {x.dim()}")
