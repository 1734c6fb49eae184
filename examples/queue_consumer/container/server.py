"""Does the work: POST /process with a job, GET /results. A job may say how often it fails before it succeeds."""

import json
import os
import socket
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

results: list[str] = []
attempts: Counter[str] = Counter()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # the head and the body of an answer are two writes

    def do_POST(self):
        job = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        text = job["text"]
        attempts[text] += 1
        if attempts[text] <= job.get("failures", 0):
            self.answer(500, {"error": "not this time"})
            return
        results.append(text.upper())
        self.answer(200, {"done": text})

    def do_GET(self):
        self.answer(200, {"process": f"{socket.gethostname()}:{os.getpid()}", "results": results, "attempts": attempts})

    def answer(self, status, value):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format, *args):
        pass


ThreadingHTTPServer(("0.0.0.0", int(os.environ["PORT"])), Handler).serve_forever()
