"""`python -m pipeline` is the command `pocketnas`."""

import sys
from pathlib import Path

if __name__ == "__main__":
    # `-m` puts the folder where the user stands first, in which a package of theirs may be called as one of ours.
    if not sys.flags.safe_path and Path(sys.path[0]).resolve() != Path(__file__).resolve().parents[1]:
        del sys.path[0]

    from pipeline.cli.start import main

    main()
