"""The lab: any net, opened up in a browser. docs/lab.md shows it.

minicnn/explain/cells.py explains its numbers.

    look.py       a net's graph, and one look at an image: every value, and the gradient of a score at every one
    answers.py    what is shown of them, as plain dictionaries
    change.py     a training step, a finite difference, an edited weight or filter
    session.py    a net in the lab: its images, looks and changes; what its page (page/) may ask. minicnn/web serves it
    follow.py     a run's log
    in_page.py    the lab in a page of its own, without a server. docs/in-page.md shows it
"""
