"""Says who it is, and does what the path asks for."""

import json
import os
import socket
import subprocess
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

print("there", flush=True)
visits = 0


def connects(host, port):
    """What becomes of a connection: "connected", or the error's name."""
    try:
        with socket.create_connection((host, int(port)), timeout=2):
            return "connected"
    except OSError as error:
        return type(error).__name__


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self):
        global visits
        url = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(url.query).items()}
        match url.path:
            case "/":
                visits += 1
                self.answer({"host": socket.gethostname(), "visits": visits})
            case "/connect":
                self.answer(connects(query["host"], query["port"]))
            case "/address":
                self.answer(socket.gethostbyname(socket.gethostname()))
            case "/exists":
                self.answer(os.path.exists(query["path"]))
            case "/sh":
                done = subprocess.run(["sh", "-c", query["command"]], capture_output=True, text=True, timeout=20)
                self.answer({"code": done.returncode, "output": done.stdout + done.stderr})
            case "/hog":
                self.answer(len(bytearray(200_000_000)))
            case "/slow":
                self.send_response(200)
                self.send_header("Content-Length", "100000")
                self.end_headers()
                self.wfile.write(b"x" * 10)
                self.wfile.flush()
                time.sleep(60)
            case "/exit":
                os._exit(int(query["code"]))

    def answer(self, value):
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format, *args):
        pass


class Server(ThreadingHTTPServer):
    request_queue_size = 256


Server(("0.0.0.0", int(os.environ["PORT"])), Handler).serve_forever()
