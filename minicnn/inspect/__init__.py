"""Inspecting a net: summaries, feature visualisations, and published figures."""

from minicnn.inspect.summary import Summary, box, summary

__all__ = ["Summary", "box", "summary"]
