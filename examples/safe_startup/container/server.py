"""A model server that must be told to load its model, once, before it can answer."""

import json
import os
import socket
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

model: dict[str, Any] = {"process": f"{socket.gethostname()}:{os.getpid()}", "loads": 0}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # the head and the body of an answer are two writes

    def do_POST(self):
        model["loads"] += 1
        print("the model is loaded", flush=True)
        self.answer(200)

    def do_GET(self):
        self.answer(200 if model["loads"] else 409)

    def answer(self, status):
        body = json.dumps(model).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format, *args):
        pass


class Server(ThreadingHTTPServer):
    request_queue_size = 128  # a crowd may come at once


Server(("0.0.0.0", int(os.environ["PORT"])), Handler).serve_forever()
