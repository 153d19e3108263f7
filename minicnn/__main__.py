"""`python -m minicnn`: the program, where its script is not on the PATH."""

from minicnn.cli import main

if __name__ == "__main__":
    main()
