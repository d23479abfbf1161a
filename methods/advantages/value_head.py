"""A linear critic on the policy's LM-head inputs, fitted batch by batch."""

from collections.abc import Sequence

import torch
from torch import Tensor

from methods.advantages.learnt import copied
from methods.advantages.token_blocks import Run, blocks, tokens


class ValueHead:
    """V(s) = ⟨w, x⟩ + b,  x = (h − μ)/ρ,  h the LM-head input; w and b start at 0 and are fitted by Adam.

    μ is the mean of h over the first batch's tokens and ρ the root mean square of ‖h − μ‖ there, both kept from then
    on: E‖x‖² = 1 whatever the model. What is learnt stays on the CPU in float64, wherever the hidden states are.
    """

    def __init__(self, learning_rate: float) -> None:
        self.learning_rate = learning_rate
        self.mean, self.radius = None, 1.0  # μ (d,) and ρ
        self.theta, self.optimizer = None, None  # w and b (d + 1,)

    def begin(self, hidden: Tensor, places: Sequence[Run]) -> None:
        """Take μ and ρ from hidden (N, T, d) at ``places``, unless they are known."""
        if self.theta is not None:
            return
        n, total, square = tokens(places), 0.0, 0.0
        for _, h in blocks(hidden, places):
            total, square = total + h.sum(0), square + torch.linalg.vector_norm(h).item() ** 2
        self.mean = (total / n).cpu()
        variance = square / n - self.mean.square().sum().item()
        self.radius = variance**0.5 if variance > 1e-12 * square / n else 1.0  # below that it is rounding
        self._set(torch.zeros(hidden.shape[2] + 1, dtype=torch.float64))

    def _set(self, theta: Tensor) -> None:
        self.theta, self.optimizer = theta, torch.optim.Adam([theta], lr=self.learning_rate)

    def _line(self, device: torch.device) -> tuple[Tensor, float]:
        """V(s) = ⟨slope, h⟩ + offset."""
        slope = self.theta[:-1] / self.radius
        return slope.to(device), (self.theta[-1] - self.mean @ slope).item()

    def values(self, hidden: Tensor, places: Sequence[Run]) -> Tensor:
        """V, (N, T) float64, 0 elsewhere than at ``places``."""
        values = torch.zeros(hidden.shape[:2], dtype=torch.float64, device=hidden.device)
        slope, offset = self._line(hidden.device)
        for (row, start, stop), h in blocks(hidden, places):
            values[row, start:stop] = h @ slope + offset
        return values

    def step(self, hidden: Tensor, places: Sequence[Run], returns: Tensor, old: Tensor, clip: float) -> None:
        """One Adam step on the mean of ½·max((V − G)², (clip(V, V_old ± clip) − G)²); of ½·(V − G)² with clip 0."""
        n, errors, (slope, offset) = tokens(places), 0.0, self._line(hidden.device)
        moment = torch.zeros_like(slope)
        for (row, start, stop), h in blocks(hidden, places):
            v, goal, before = h @ slope + offset, returns[row, start:stop], old[row, start:stop]
            error = v - goal
            if clip > 0:  # where the larger term is V_clip's, V has overshot: a constant, no gradient
                clipped = v.clamp(before - clip, before + clip)
                error = error.where(error.abs() >= (clipped - goal).abs(), 0.0)
            errors += error.sum().item()
            moment.addmv_(h.T, error)
        by_w = (moment.cpu() - self.mean * errors) / self.radius
        self.theta.grad = torch.cat([by_w, by_w.new_tensor([errors])]) / n
        self.optimizer.step()

    def state_dict(self) -> dict:
        if self.theta is None:
            return {}
        own = {"mean": self.mean, "radius": self.radius, "theta": self.theta}
        return copied(own | {"optimizer": self.optimizer.state_dict()})

    def load_state_dict(self, state: dict) -> None:
        self.__init__(self.learning_rate)
        if state := copied(state):
            self.mean, self.radius = state["mean"], state["radius"]
            self._set(state["theta"])
            self.optimizer.load_state_dict(state["optimizer"])
