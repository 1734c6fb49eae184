"""Asks the shop over gRPC: python client.py [HOST:PORT]"""

import sys

import grpc

text = {"request_serializer": str.encode, "response_deserializer": bytes.decode}  # instead of protocol buffers
address = sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:8787"
with grpc.insecure_channel(address) as channel:
    print("rope costs", channel.unary_unary("/grpc.Shop/Price", **text)("rope"))
    for answer in channel.stream_stream("/grpc.Shop/Watch", **text)(iter(["anchor", "lantern", "sail"])):
        print(answer)
