"""Readers of bytes that anyone may have written: they run nothing, and check every length before they use it."""
