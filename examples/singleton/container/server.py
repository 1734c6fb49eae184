"""A ticket dispenser: no two visitors get the same number."""

import itertools
import json
import os
import socket
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

numbers = itertools.count(1)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # the head and the body of an answer are two writes

    def do_GET(self):
        body = json.dumps({"process": f"{socket.gethostname()}:{os.getpid()}", "ticket": next(numbers)}).encode()
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
