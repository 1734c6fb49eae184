"""A container program for tests that ends before it listens, until the file that FIXED_FILE names exists.

STARTS_FILE, if given, gets one line per start; nothing happens before the file that GATE_FILE names exists.
"""

import os
import sys
import time
from http.server import BaseHTTPRequestHandler, HTTPServer


class Fine(BaseHTTPRequestHandler):
    """Answers every GET."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "4")
        self.end_headers()
        self.wfile.write(b"fine")


if __name__ == "__main__":
    if path := os.environ.get("STARTS_FILE"):
        with open(path, "a") as starts:
            starts.write(f"{os.getpid()}\n")
    while not os.path.exists(os.environ["GATE_FILE"]):
        time.sleep(0.005)
    if not os.path.exists(os.environ["FIXED_FILE"]):
        print("reading the configuration", flush=True)
        print("fatal: no database configured", file=sys.stderr, flush=True)
        sys.exit(7)
    HTTPServer(("0.0.0.0" if "HOSTNAME" in os.environ else "127.0.0.1", int(os.environ["PORT"])), Fine).serve_forever()
