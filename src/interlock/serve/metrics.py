"""What Prometheus may ask for. Counting is plain addition in the event loop; the text is made when somebody asks."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Final

from interlock.core.errors import MissingExtra

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from prometheus_client.metrics_core import Metric

    from interlock.serve.guard import Warned

_BOUNDS_S: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)

_STRANGE: Final = (
    ("interlock_warnings", "warning", "warnings", "Requests answered with a warning."),
    ("interlock_out_of_range_rows", "column", "outside", "Rows answered that are outside of what training saw."),
)


class Tally:
    """What one model version did.

    Attributes:
        requests: requests that it answered.
        failures: requests that failed on it.
        rows: rows that it answered.
        garbage: requests whose answer was no probability.
        busy_s: seconds from the request's end to the answer, over all requests.
        last_at: when it last answered, seconds since 1970.
        warnings: requests that it answered with a warning, by the warning's name.
        outside: rows outside of what training saw, by column.
    """

    __slots__ = ("busy_s", "failures", "garbage", "last_at", "outside", "requests", "rows", "warnings")

    def __init__(self) -> None:
        self.requests = self.failures = self.rows = self.garbage = 0
        self.busy_s = self.last_at = 0.0
        self.warnings: Counter[str] = Counter()
        self.outside: Counter[str] = Counter()

    def warn(self, strange: Warned) -> None:
        """Count one answer that was given with warnings."""
        self.warnings.update(strange.kinds)
        self.outside.update(strange.outside)


class Metrics:
    """The counters of one server.

    Attributes:
        requests: requests by endpoint, model and status.
        models: what each model version did.
        dropped: values of columns that no model knows, by endpoint.
        swaps: revisions taken over, and refused.
    """

    def __init__(self) -> None:
        self.requests: defaultdict[tuple[str, str, int], int] = defaultdict(int)
        self.models: defaultdict[str, Tally] = defaultdict(Tally)
        self.dropped = 0
        self.swaps = {"served": 0, "refused": 0}
        self._latency: dict[str, list[int]] = {}
        self._seconds: defaultdict[str, float] = defaultdict(float)

    def count(self, endpoint: str, model: str, status: int, seconds: float) -> None:
        """Count one request."""
        self.requests[endpoint, model, status] += 1
        buckets = self._latency.get(endpoint)
        if buckets is None:
            buckets = self._latency[endpoint] = [0] * (len(_BOUNDS_S) + 1)
        buckets[bisect_left(_BOUNDS_S, seconds)] += 1
        self._seconds[endpoint] += seconds

    def exposition(self, gauges: Mapping[str, tuple[str, float | Mapping[str, float]]]) -> bytes:
        """Return everything in Prometheus' text format.

        Args:
            gauges: what is known elsewhere: name, help, and value, or a value a model.

        Raises:
            MissingExtra: prometheus-client is not installed.
        """
        try:
            from prometheus_client import CollectorRegistry, generate_latest
        except ImportError:
            raise MissingExtra.named("serve", "prometheus_client") from None
        registry = CollectorRegistry(auto_describe=False)
        registry.register(_Snapshot(self, gauges))
        return generate_latest(registry)

    def families(self) -> Iterator[Metric]:
        """Return the counters as Prometheus families."""
        from prometheus_client.metrics_core import CounterMetricFamily, HistogramMetricFamily

        requests = CounterMetricFamily(
            "interlock_requests", "Requests answered.", labels=("endpoint", "model", "status")
        )
        for (endpoint, model, status), count in self.requests.items():
            requests.add_metric((endpoint, model, str(status)), count)
        yield requests
        latency = HistogramMetricFamily(
            "interlock_request_seconds", "Seconds from first byte to answer.", labels=("endpoint",)
        )
        for endpoint, counts in self._latency.items():
            latency.add_metric((endpoint,), _cumulated(counts), self._seconds[endpoint])
        yield latency
        for name, text in (("rows", "Rows answered."), ("garbage", "Requests whose answer was no probability.")):
            family = CounterMetricFamily(f"interlock_{name}", text, labels=("model",))
            for model, tally in self.models.items():
                family.add_metric((model,), getattr(tally, name))
            yield family
        for name, label, attribute, text in _STRANGE:
            family = CounterMetricFamily(name, text, labels=("model", label))
            for model, tally in self.models.items():
                for key, count in [*getattr(tally, attribute).items()]:
                    family.add_metric((model, key), count)
            yield family
        yield CounterMetricFamily("interlock_dropped_columns", "Unknown columns left out.", value=self.dropped)
        swaps = CounterMetricFamily("interlock_revisions", "Revisions taken over or refused.", labels=("result",))
        for result, count in self.swaps.items():
            swaps.add_metric((result,), count)
        yield swaps


class _Snapshot:
    """A Prometheus collector over the counters as they stand."""

    def __init__(self, metrics: Metrics, gauges: Mapping[str, tuple[str, float | Mapping[str, float]]]) -> None:
        self._metrics = metrics
        self._gauges = gauges

    def collect(self) -> Iterator[Metric]:
        from prometheus_client.metrics_core import GaugeMetricFamily

        yield from self._metrics.families()
        for name, (text, value) in self._gauges.items():
            family = GaugeMetricFamily(name, text, labels=() if isinstance(value, float) else ("model",))
            for model, one in {"": value}.items() if isinstance(value, float) else value.items():
                family.add_metric((model,) if model else (), one)
            yield family


def _cumulated(counts: list[int]) -> list[tuple[str, float]]:
    total = 0
    buckets: list[tuple[str, float]] = []
    for bound, count in zip((*map(str, _BOUNDS_S), "+Inf"), counts, strict=True):
        total += count
        buckets.append((bound, total))
    return buckets
