"""Runs the AWS emulator in this process, with our mends applied. Started by `make up`; see mends/."""

import importlib.metadata
import os
import pathlib
import sys

# The mends replace internals of exactly this version.
EXPECTED = "1.5.33"


def main() -> None:
    found = importlib.metadata.version("ministack")
    if found != EXPECTED:
        sys.exit(f"the mends fit ministack {EXPECTED}, found {found}: see local/emulator/mends")
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
    sys.argv = sys.argv[:1]
    from ministack import app

    # The tests start the emulator as it comes, to see which mends are still needed.
    if os.environ.get("LOGFERRY_MENDS", "on") != "off":
        import mends

        mends.apply()
    app.main()


if __name__ == "__main__":
    main()
