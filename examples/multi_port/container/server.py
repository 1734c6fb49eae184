"""A shop on three ports: its pages, a gRPC service, and Prometheus metrics that count the requests of each."""

import os
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import grpc
import prometheus_client

requests = prometheus_client.Counter("requests", "Requests so far.", ["part"])
prices = {"rope": 12, "anchor": 90, "lantern": 25}


class Pages(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # the head and the body of an answer are two writes

    def do_GET(self):
        requests.labels("pages").inc()
        body = f"pages: {self.path}\n".encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format, *args):
        pass


class Server(ThreadingHTTPServer):
    request_queue_size = 128  # a crowd may come at once


def price(name, context):
    """What an article costs: a unary call."""
    requests.labels("grpc").inc()
    if name not in prices:
        context.abort(grpc.StatusCode.NOT_FOUND, f"there is no {name}")
    return str(prices[name])


def watch(names, context):
    """What each article costs, as soon as it is named: a call with a stream in each direction."""
    requests.labels("grpc").inc()
    for name in names:
        yield f"{name}: {prices.get(name, 'none left')}"


text = {"request_deserializer": bytes.decode, "response_serializer": str.encode}  # instead of protocol buffers
shop = grpc.method_handlers_generic_handler(
    "grpc.Shop",
    {
        "Price": grpc.unary_unary_rpc_method_handler(price, **text),
        "Watch": grpc.stream_stream_rpc_method_handler(watch, **text),
    },
)
calls = grpc.server(ThreadPoolExecutor(16), handlers=[shop])
calls.add_insecure_port(f"0.0.0.0:{os.environ['PORT_8081']}")
calls.start()
prometheus_client.start_http_server(int(os.environ["PORT_9090"]), "0.0.0.0")
Server(("0.0.0.0", int(os.environ["PORT_8080"])), Pages).serve_forever()
