"""A program that takes its time: POST a job, and look from time to time whether it is done."""

import json
import os
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SECONDS = float(os.environ.get("SECONDS", "1200"))
job: dict[str, object] = {"process": f"{socket.gethostname()}:{os.getpid()}", "input": None, "done": False}


def finish():
    job["done"] = True


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # the head and the body of an answer are two writes

    def do_POST(self):
        job["input"] = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        threading.Timer(SECONDS, finish).start()
        self.do_GET()

    def do_GET(self):
        body = json.dumps(job).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format, *args):
        pass


server = ThreadingHTTPServer(("0.0.0.0", int(os.environ["PORT"])), Handler)
server.daemon_threads = True
server.serve_forever()
