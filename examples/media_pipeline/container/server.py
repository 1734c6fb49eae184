"""Stands for an encoder: POST /encode with a job. A job may say how often it fails before it succeeds, or be broken."""

import hashlib
import json
import os
import socket
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

encoded: list[str] = []
failed: list[str] = []


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # the head and the body of an answer are two writes

    def do_POST(self):
        job = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if job.get("broken"):
            self.answer(422, {"error": f"{job['source']} is no film"})
        elif len(failed) < job.get("failures", 0):
            failed.append(job["job_id"])
            self.answer(503, {"error": "not this time"})
        else:
            encoded.append(job["job_id"])
            digest = hashlib.sha256(job["source"].encode()).hexdigest()
            process = f"{socket.gethostname()}:{os.getpid()}"
            self.answer(200, {"sha256": digest, "process": process, "encoded": encoded, "failed": failed})

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
