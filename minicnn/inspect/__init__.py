"""Looking into a net: what its layers compute, hold and cost."""

from minicnn.inspect.summary import Summary, summary

__all__ = ["Summary", "summary"]
