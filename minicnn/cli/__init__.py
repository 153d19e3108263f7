"""The command line: `minicnn VERB …`, one file a verb."""

from minicnn.cli.app import main

__all__ = ["main"]
