"""The article's program in plain torch, nothing of softreg in it: section 3.3's formula and section 4's."""

import torch
from torch import nn


def section_3_3(yhat, y, alpha=0.01, variance=1.0):
    d2 = ((y - yhat) ** 2).sum(dim=1)
    return d2 / 2 + alpha * 0.5 * (torch.log(variance / (variance + d2)) + d2 / (variance + d2))


def section_4(yhat, y, alpha=0.01):
    d2 = ((y - yhat) ** 2).sum(dim=1)
    s = (yhat**2).mean()
    return d2 / 2 + alpha * 0.5 * (torch.log(s) + d2 / s - 1)


def run(loss, x, y, x_val, y_val, epochs, epsilon=1e-8, glorot=False, seed=0, weights=None, order=None):
    """Losses of all steps, and the accuracy on the validation rows after the last epoch."""
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    if glorot:
        for layer in (net[0], net[2]):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
    if weights is not None:
        for parameter, given in zip(net.parameters(), weights, strict=True):
            parameter.data.copy_(given)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.001, eps=epsilon)
    losses = []
    for epoch in range(epochs):
        for rows in (torch.randperm(len(x)) if order is None else order(epoch)).split(32):
            value = loss(net(x[rows]), nn.functional.one_hot(y[rows], 10).float()).mean()
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
            losses.append(value.item())
    return losses, (net(x_val).argmax(dim=1) == y_val).float().mean().item()
