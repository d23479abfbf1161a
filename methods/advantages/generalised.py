"""Generalised advantage estimation over given values."""

import torch
from torch import Tensor


def generalised_advantages(rewards: Tensor, values: Tensor, mask: Tensor, gamma: float, lam: float) -> Tensor:
    """GAE (arXiv:1506.02438):  A_t = Σ_l (γλ)^l·δ_{t+l},  δ_t = r_t + γ·V(s_{t+1}) − V(s_t)

    rewards (N,) come with the last true place of mask (N, T), values (N, T) are V(s_t) and 0 behind it; places outside
    the mask are passed over, as if they were not there, and get 0. → (N, T) float64
    """
    assert values.shape == mask.shape and rewards.shape == mask.shape[:1]
    advantages = torch.zeros_like(values)
    reward, after, carried = rewards.clone(), torch.zeros_like(rewards), torch.zeros_like(rewards)
    for t in reversed(range(mask.shape[1])):
        inside, value = mask[:, t], values[:, t]
        carried = torch.where(inside, reward + gamma * after - value + gamma * lam * carried, carried)
        advantages[:, t] = carried.where(inside, 0.0)
        reward, after = reward.masked_fill(inside, 0.0), torch.where(inside, value, after)
    return advantages
