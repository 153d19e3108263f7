"""The app: a trained classifier as a page for everybody. docs/app.md shows it.

    session.py     a classifier that answers: the top five, and the evidence for a class
    filing.py      pictures that it got wrong, filed into the folders of their classes
    retrain.py     a process that trains on with these pictures, and compares the old and the new model
    teach.py       files, starts that process, and keeps the better model
    export.py      a folder that serves the same page with Python, NumPy and Pillow: standalone.py starts it
"""
