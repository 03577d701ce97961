"""Runs the AWS emulator in this process with the patches of patches/ applied. Started by `make up`."""

import importlib.metadata
import os
import pathlib
import sys

# The patches replace internals of exactly this version.
EXPECTED = "1.5.33"


def main() -> None:
    found = importlib.metadata.version("ministack")
    if found != EXPECTED:
        sys.exit(f"the patches are for ministack {EXPECTED}, found {found}: see local/emulator/patches")
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
    sys.argv = sys.argv[:1]
    from ministack import app

    # The tests also start the unpatched emulator, to see which patches are still needed.
    if os.environ.get("LOGFERRY_PATCHES", "on") != "off":
        import patches

        patches.apply()
    app.main()


if __name__ == "__main__":
    main()
