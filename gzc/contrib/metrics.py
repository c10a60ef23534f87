"""What gzc moved, for Prometheus: ``gzc.metrics.register()``, with the extra ``gzc[metrics]``.

=============================  =========  =========================================================
gzc_bytes_total                mechanism  bytes delivered
gzc_calls_total                mechanism  system calls made, or calls of an object's own methods
gzc_waits_total                mechanism  how often a transfer waited for one of its ends
gzc_refusals_total             reason     how often the fast path was not taken
gzc_running_transfers          mechanism  transfers under way
=============================  =========  =========================================================

The figures are those of the process that is asked: for prometheus_client's multiprocess mode, which reads files
that its own metrics write, a collector is no part. Scrape each worker, or run one.

prometheus_client is imported on first use.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from .._config import MECHANISMS
from .._core.tally import stats, under_way

_COUNTED = {
    "bytes": "Bytes delivered, by mechanism.",
    "calls": "System calls made, or calls of an object's own methods, by mechanism.",
    "waits": "How often a transfer waited for one of its ends, by mechanism.",
}


class Collector:
    """A collector for a registry of prometheus_client: ``registry.register(gzc.metrics.Collector())``.

    :raises ImportError: prometheus_client is not installed.
    """

    def __init__(self) -> None:
        try:
            from prometheus_client import core
        except ImportError:
            raise ImportError("gzc.metrics needs prometheus_client: pip install 'gzc[metrics]'") from None
        self._core: Any = core

    def collect(self) -> Iterator[Any]:
        """The metrics, as they are now."""
        now = stats()
        for name, text in _COUNTED.items():
            metric = self._core.CounterMetricFamily(f"gzc_{name}", text, labels=["mechanism"])
            for mechanism, count in now[name].items():
                metric.add_metric([mechanism], count)
            yield metric
        metric = self._core.CounterMetricFamily("gzc_refusals", "Fast paths not taken, by reason.", labels=["reason"])
        for reason, count in now["refused"].items():
            metric.add_metric([reason], count)
        yield metric
        running = Counter(tally.mover.name for tally in tuple(under_way))
        metric = self._core.GaugeMetricFamily("gzc_running_transfers", "Transfers under way.", labels=["mechanism"])
        for mechanism in MECHANISMS:
            metric.add_metric([mechanism], running[mechanism])
        yield metric


def register(registry: Any = None) -> Collector:
    """Add a ``Collector`` to ``registry``, or to prometheus_client's own; to be undone by ``registry.unregister``."""
    collector = Collector()
    if registry is None:
        import prometheus_client

        registry = prometheus_client.REGISTRY
    registry.register(collector)
    return collector
