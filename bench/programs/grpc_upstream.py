"""Becomes a server that answers every call with one empty message and status 0: nghttpd, never the bottleneck.

Usage: grpc_upstream.py NGHTTPD PORT. The path of a call is /bench.Calls/Empty.grpc: nghttpd finds a file of that name,
and takes its content type from the ending. That file is in a folder of TMPDIR.
"""

import os
import sys
import tempfile
from pathlib import Path


def main() -> None:
    nghttpd, port = sys.argv[1:]
    folder = Path(tempfile.mkdtemp())
    served = folder / "served" / "bench.Calls"
    served.mkdir(parents=True)
    (served / "Empty.grpc").write_bytes(bytes(5))  # not compressed, of length 0
    types = folder / "types"
    types.write_text("application/grpc grpc\n")
    options = ["--no-tls", "-a", "127.0.0.1", "-d", str(served.parent), "--mime-types-file", str(types)]
    os.execv(nghttpd, [nghttpd, *options, "--trailer", "grpc-status: 0", port])


if __name__ == "__main__":
    main()
