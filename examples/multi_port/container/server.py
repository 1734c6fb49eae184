"""A service on three ports: its pages, another API, and metrics that count the requests of each."""

import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

requests = {"pages": 0, "api": 0, "metrics": 0}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # the head and the body of an answer are two writes
    part = ""

    def do_GET(self):
        requests[self.part] += 1
        body = self.metrics() if self.part == "metrics" else f"{self.part}: {self.path}\n"
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body.encode())))
        self.end_headers()
        self.wfile.write(body.encode())

    def metrics(self):
        return "".join(f'requests_total{{part="{part}"}} {number}\n' for part, number in requests.items())

    def log_message(self, format, *args):
        pass


class Pages(Handler):
    part = "pages"


class Api(Handler):
    part = "api"


class Metrics(Handler):
    part = "metrics"


class Server(ThreadingHTTPServer):
    request_queue_size = 128  # a crowd may come at once


for port, handler in (("PORT_8080", Pages), ("PORT_8081", Api), ("PORT_9090", Metrics)):
    server = Server(("127.0.0.1", int(os.environ[port])), handler)
    Thread(target=server.serve_forever).start()
