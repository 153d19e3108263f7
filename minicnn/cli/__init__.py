"""The command line: `minicnn VERB …`, one file a verb.

A verb's file imports what its options need; most verbs import the engine in the function that computes, so that
`minicnn VERB --help` is quick.
"""

from minicnn.cli.app import main

__all__ = ["main"]
