"""gunicorn's gevent workers with gzc in force: ``gunicorn -k egg:gzc#gevent`` or ``-k gzc.monkey.gunicorn.Worker``.

For those who choose by a worker class and not by ``GZC=1`` in the environment. ``egg:gzc#gevent_pywsgi``, or
``gzc.monkey.gunicorn.PyWSGIWorker``, is the one with gevent's own WSGI server.

gunicorn imports this module; gzc does not, and does not need gunicorn.
"""

from __future__ import annotations

from gunicorn.workers.ggevent import GeventPyWSGIWorker, GeventWorker

from ._activation import switch_on


class Worker(GeventWorker):
    """gunicorn's gevent worker, patched by gevent and then by gzc.

    ``GZC_ONLY``, ``GZC_SKIP`` and ``GZC_ALSO`` choose seams. A choice that the program has made by a call, in a
    configuration hook or in an app that was preloaded, stays.
    """

    def patch(self) -> None:
        """gevent's patches, the listening sockets made gevent's, then gzc's seams."""
        super().patch()
        switch_on(by_call=False)


class PyWSGIWorker(Worker, GeventPyWSGIWorker):
    """The same with gevent's pywsgi as the server."""
