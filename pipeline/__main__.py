"""`python -m pipeline` is the command `pocketnas`."""

from pipeline.cli.start import main

if __name__ == "__main__":
    main()
