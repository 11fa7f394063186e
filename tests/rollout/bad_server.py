"""A chat completions server that misbehaves as told: slow, refusing, dropping connections, talking rubbish, cutting."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Plan = Callable[[dict[str, Any], int], str]
"""(the request, how often this question has come before) -> what to do, one of the names in ``_Handler.do_POST``."""


class BadServer(ThreadingHTTPServer):
    """Answers ``text(request)`` where the plan says ``ok``. Counts what was asked, and how much at once."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, plan: Plan, text: Callable[[dict[str, Any]], str]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.plan, self.text = plan, text
        self.asked: Counter[str] = Counter()
        self.done: Counter[str] = Counter()
        self.requests: list[dict[str, Any]] = []
        self.keys: set[str | None] = set()
        self.now = self.most = 0
        self.lock = threading.Lock()
        self.moments: list[float] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that has gone is what some of this is for."""


@contextmanager
def serving(plan: Plan, text: Callable[[dict[str, Any]], str] = lambda asked: "hello") -> Iterator[BadServer]:
    server = BadServer(plan, text)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: BadServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *args: Any) -> None:
        pass

    def do_POST(self) -> None:
        s = self.server
        raw = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        question = json.dumps(raw, sort_keys=True)
        with s.lock:
            before, s.asked[question] = s.asked[question], s.asked[question] + 1
            s.requests.append(raw)
            s.keys.add(self.headers.get("Authorization"))
            s.moments.append(time.monotonic())
            s.now += 1
            s.most = max(s.most, s.now)
        what = s.plan(raw, before)
        s.done[what] += 1
        try:
            self._do(what, raw)
        finally:
            with s.lock:
                s.now -= 1

    def _do(self, what: str, raw: dict[str, Any]) -> None:
        limit = raw.get("max_tokens") or raw.get("max_completion_tokens")
        text = self.server.text(raw)
        if what == "ok":
            self._say(200, _answer(text))
        elif what == "slow":
            time.sleep(0.3)
            self._say(200, _answer(text))
        elif what == "later":
            self._say(429, {"error": {"message": "slow down"}}, {"Retry-After": "0.2"})
        elif what == "tomorrow":
            self._say(429, {"error": {"message": "come back"}}, {"Retry-After": "86400"})
        elif what == "quota":
            self._say(429, {"error": {"code": "insufficient_quota"}})
        elif what == "overloaded":
            self._say(503, {"error": "overloaded"})
        elif what == "gone":
            self._hang_up()
        elif what == "half":
            self._say(200, _answer(text), {"Content-Length": "100000"})
            self._hang_up()
        elif what == "rubbish":
            self._say(200, "<html>it works!")
        elif what == "no choices":
            self._say(200, {"choices": []})
        elif what == "no content":
            self._say(200, _answer(None))
        elif what == "error in 200":
            self._say(200, {"error": {"message": "provider returned error"}})
        elif what == "cut":
            self._say(200, _answer("```python\nprint(", reason="length", tokens=4))
        elif what == "too long":
            self._say(200, _answer("```python\n" + "x = 1\n" * 100, reason="length", tokens=limit))
        elif what == "thinking":
            self._say(200, _answer("", reason="length", tokens=limit, thought=limit))
        elif what == "filter":
            self._say(200, _answer("", reason="content_filter"))
        elif what == "refusal":
            raw = _answer(None)
            raw["choices"][0]["message"]["refusal"] = "I cannot help with that."
            self._say(200, raw)
        elif what == "key":
            self._say(401, {"error": {"message": f"Incorrect API key: {self.headers.get('Authorization')}"}})
        else:
            self._say(400, {"error": {"message": "unsupported parameter"}})

    def _hang_up(self) -> None:
        self.connection.shutdown(socket.SHUT_RDWR)
        self.close_connection = True

    def _say(self, status: int, body: object, headers: dict[str, str] | None = None) -> None:
        data = (body if isinstance(body, str) else json.dumps(body)).encode()
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(data))} | (headers or {})).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)
        self.wfile.flush()


def _answer(text: str | None, *, reason: str = "stop", tokens: int = 7, thought: int = 0) -> dict[str, Any]:
    usage = {
        "prompt_tokens": 100,
        "completion_tokens": tokens,
        "prompt_tokens_details": {"cached_tokens": 40},
        "completion_tokens_details": {"reasoning_tokens": thought},
    }
    message = {"role": "assistant", "content": text}
    return {"choices": [{"index": 0, "message": message, "finish_reason": reason}], "usage": usage}
