"""Looking into a net: what its layers compute, hold and cost."""

from minicnn.inspect.summary import Summary, box, summary

__all__ = ["Summary", "box", "summary"]
