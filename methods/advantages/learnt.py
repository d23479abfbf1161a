"""What a part that learns hands to the trainer's checkpoints."""

from torch import Tensor


class Learning:
    """A part all of whose learning is its ``learner``'s."""

    def state_dict(self) -> dict:
        """A copy of what was learnt; empty before the first batch."""
        return self.learner.state_dict()

    def load_state_dict(self, state: dict) -> None:
        """Go on from what ``state_dict`` gave."""
        self.learner.load_state_dict(state)


def copied(state):
    """Nested dicts, lists and tuples with their tensors copied to the CPU, out of the reach of further steps."""
    if isinstance(state, Tensor):
        return state.detach().to("cpu", copy=True)
    if isinstance(state, dict):
        return {key: copied(value) for key, value in state.items()}
    return type(state)(map(copied, state)) if isinstance(state, list | tuple) else state
