"""gunicorn with gzc, by its worker class: nothing to change in the application.

    gunicorn -c gunicorn.conf.py app:app

`GZC=1 gunicorn -k gevent app:app` does the same by a variable. Limits are variables, too: GZC_CHUNK, GZC_DISABLE ...
"""

import gzc

bind = "127.0.0.1:8000"
worker_class = "egg:gzc#gevent"  # egg:gzc#gevent_pywsgi for the one with gevent's own WSGI server
workers = 2
keepalive = 15
graceful_timeout = 30


def post_worker_init(worker):
    off = [seam.name for seam in gzc.seams() if seam.state.startswith("skipped")]
    worker.log.info("gzc: %d seams in force, skipped: %s", len(gzc.patched()), ", ".join(off) or "none")


def worker_exit(server, worker):
    moved = ", ".join(f"{count} bytes by {name}" for name, count in gzc.stats()["bytes"].items() if count)
    worker.log.info("gzc: moved %s", moved or "nothing")
