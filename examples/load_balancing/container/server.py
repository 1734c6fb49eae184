"""A stateless API that costs CPU time: GET /?below=100000 counts the primes below a number."""

import json
import os
import socket
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit


def count_primes(below):
    sieve = bytearray([1]) * below
    sieve[:2] = bytes(min(below, 2))
    for number in range(2, int(below**0.5) + 1):
        if sieve[number]:
            sieve[number * number :: number] = bytes(len(range(number * number, below, number)))
    return sum(sieve)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # the head and the body of an answer are two writes

    def do_GET(self):
        query = parse_qs(urlsplit(self.path).query)
        below = min(int(query.get("below", ["1000"])[0]), 10_000_000)
        body = json.dumps({"process": f"{socket.gethostname()}:{os.getpid()}", "primes": count_primes(below)}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format, *args):
        pass


class Server(ThreadingHTTPServer):
    request_queue_size = 128  # a crowd may come at once


Server(("0.0.0.0", int(os.environ["PORT"])), Handler).serve_forever()
