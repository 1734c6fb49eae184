"""Does the work: POST /process with a JSON document; the answer says how often this process was asked."""

import json
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

asked: list[object] = []


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # the head and the body of an answer are two writes

    def do_POST(self):
        data = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        asked.append(data)
        body = json.dumps({"result": str(data).upper(), "asked": len(asked)}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format, *args):
        pass


ThreadingHTTPServer(("0.0.0.0", int(os.environ["PORT"])), Handler).serve_forever()
