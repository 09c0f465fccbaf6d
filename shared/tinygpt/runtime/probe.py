"""`python -m tinygpt.runtime.probe URL`: exit 0 if the URL answers 200. The health check of the HTTP containers."""

import sys
import urllib.error
import urllib.request

_TIMEOUT_SECONDS = 2.0


def main() -> None:
    try:
        with urllib.request.urlopen(sys.argv[1], timeout=_TIMEOUT_SECONDS):
            pass
    except (urllib.error.URLError, TimeoutError) as error:
        sys.exit(f"{sys.argv[1]}: {error}")


if __name__ == "__main__":
    main()
