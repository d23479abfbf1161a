"""Sequence advantages: one number per completion from its group's rewards, `advantage(batch) -> Credit`."""
