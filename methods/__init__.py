"""Credit-assignment methods: pure functions of one typed batch that know no trainer and no configuration."""

from methods.batch import MissingSignal, RolloutBatch, SignalProvider
from methods.credit import Credit
from methods.live import LiveBatch
from methods.method import Method
from methods.surrogates import Surrogate

__all__ = ["Credit", "LiveBatch", "Method", "MissingSignal", "RolloutBatch", "SignalProvider", "Surrogate"]
