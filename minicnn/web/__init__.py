"""Pages on this machine: what `minicnn lab` and `minicnn app` have in common.

    site.py      a table of pages and questions
    server.py    serves it to a browser, and refuses everybody else
    wire.py      answers as JSON
"""
