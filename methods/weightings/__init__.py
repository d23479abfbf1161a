"""Token weights: a completion's credit spread over its tokens, `weighting(batch, credit) -> Credit`."""
