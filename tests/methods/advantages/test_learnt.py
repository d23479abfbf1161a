import torch

from methods.advantages.learnt import Learning, copied


def test_copies_tensors_and_keeps_the_structure():
    inner = torch.tensor([1.0, 2.0])
    state = {"a": inner, "b": {0: [inner, 3]}, "c": (0.9, 0.999), "d": None}
    copy = copied(state)
    inner += 1
    assert copy["a"].tolist() == copy["b"][0][0].tolist() == [1.0, 2.0]
    assert copy["b"][0][1] == 3 and copy["c"] == (0.9, 0.999) and copy["d"] is None
    assert isinstance(copy["c"], tuple) and isinstance(copy["b"][0], list)


def test_a_copy_asks_for_no_gradient():
    parameter = torch.nn.Parameter(torch.ones(2))
    assert not copied({"p": parameter})["p"].requires_grad


def test_a_learning_part_hands_its_state_through():
    class Learner:
        def state_dict(self):
            return {"a": 1}

        def load_state_dict(self, state):
            self.loaded = state

    part = Learning()
    part.learner = Learner()
    part.load_state_dict({"b": 2})
    assert part.state_dict() == {"a": 1} and part.learner.loaded == {"b": 2}
