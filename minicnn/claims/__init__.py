"""Claims of textbooks and papers, measured: one file a claim in catalogue/, and one engine that runs them all.

A claim file says what is claimed and by whom, the experiment, and the rule of the verdict, before anything is run. Its
SHA-256 is part of every result: a rule that is changed afterwards gives another number.
"""

from minicnn.claims.files import NAMES, digest, load

__all__ = ["NAMES", "digest", "load"]
