"""Controls of a comparison: the finished credit map of any weighting with what it says taken out.

``control(batch, credit) -> Credit`` keeps each completion's total credit and moves it between its tokens. The
batch is a RolloutBatch, or a LiveBatch where the weighting acts at every optimisation step.
"""
