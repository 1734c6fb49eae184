"""HTTP: messages, a strict parser, the server's and the client's side of a connection."""

from moorings.http.client import HttpClient, Redirects
from moorings.http.headers import UNSET, Headers
from moorings.http.limits import Limits
from moorings.http.problem import Debug, problem_response
from moorings.http.request import Request
from moorings.http.response import Response
from moorings.http.server import HttpServer
from moorings.http.signal import AbortSignal

__all__ = [
    "UNSET",
    "AbortSignal",
    "Debug",
    "Headers",
    "HttpClient",
    "HttpServer",
    "Limits",
    "Redirects",
    "Request",
    "Response",
    "problem_response",
]
