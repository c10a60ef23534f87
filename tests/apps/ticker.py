"""The Flask app, and beside it a greenlet that ticks every millisecond and notes how long each tick took.

`POST /ticker` starts it afresh, `GET /ticker` stops it and answers the gaps in seconds. The gaps are what any
other greenlet of the worker would have waited for the hub.
"""

import time

import gevent
from flask import Response, jsonify
from flask_files import app

TICK = 0.001


class Ticker:
    def __init__(self) -> None:
        self.gaps: list[float] = []
        self._before = 0.0
        self._greenlet = gevent.Greenlet()

    def _ticked(self) -> None:
        now = time.perf_counter()
        self.gaps.append(now - self._before)
        self._before = now

    def _tick(self) -> None:
        while True:
            gevent.sleep(TICK)
            self._ticked()

    def start(self) -> Response:
        self._greenlet.kill()
        self.gaps.clear()
        self._before = time.perf_counter()
        self._greenlet = gevent.spawn(self._tick)
        return Response(status=204)

    def stop(self) -> Response:
        self._ticked()  # the gap that is still open: a hub that was never given back has only this one
        self._greenlet.kill()
        return jsonify(self.gaps)


ticker = Ticker()
app.add_url_rule("/ticker", "start", ticker.start, methods=["POST"])
app.add_url_rule("/ticker", "stop", ticker.stop, methods=["GET"])
