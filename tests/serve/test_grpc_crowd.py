"""A crowd over gRPC: real channels whose calls are silent, large or many, and the callers besides them."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
import uvloop
from grpc import StatusCode

from interlock.core.bundles import Route
from interlock.core.clock import SystemClock
from interlock.core.errors import Error
from interlock.serve import grpc_crowd, grpc_server
from interlock.serve.app import Limits
from interlock.serve.engine import Engine
from interlock.serve.grpc_crowd import Crowd
from interlock.serve.grpc_messages import SERVICE, messages
from interlock.serve.grpc_server import start_grpc
from interlock.serve.hands import Hands
from interlock.serve.journal import open_journal
from interlock.serve.revision import load_revision
from interlock.serve.sources import Wanted

DEADLINE_S = 30


def infer(**fields):
    made = messages()["ModelInferRequest"](model_name="shop", **fields)
    for name, datatype, field, value in (
        ("city", "BYTES", "bytes_contents", b"Oslo"),
        ("age", "INT64", "int64_contents", 21),
        ("spend", "FP64", "fp64_contents", 10.0),
    ):
        tensor = made.inputs.add(name=name, datatype=datatype, shape=[1])
        getattr(tensor.contents, field).append(value)
    return made.SerializeToString()


class House:
    """An engine and its gRPC server in a thread with uvloop; channels of connections of their own, and silent calls."""

    def __init__(self, shop, limits):
        shop.deploy(Route("model:buyer@3", shop.bundle("customers"), 1.0, "champion"))
        self.shop, self.limits, self.began = shop, limits, threading.Event()
        self.silence, self.stack = threading.Event(), contextlib.ExitStack()
        self.thread = threading.Thread(target=lambda: uvloop.run(self._live()), daemon=True)
        self.thread.start()
        assert self.began.wait(DEADLINE_S)

    def close(self):
        self.silence.set()
        self.stack.close()
        self.loop.call_soon_threadsafe(self.over.set)
        self.thread.join(DEADLINE_S)
        assert not self.thread.is_alive()

    async def _live(self):
        self.loop, self.over = asyncio.get_running_loop(), asyncio.Event()
        with ThreadPoolExecutor(2) as pool:
            journal = open_journal(self.shop.store.predictions.folder, "fsync")
            self.engine = Engine("shop", journal, SystemClock(), Hands(pool))
            spec = self.shop.store.database.one("SELECT spec FROM deployments")["spec"]
            self.engine.revision = load_revision(self.shop.source(), Wanted(1, spec), {})
            server = await start_grpc(self.engine, self.limits, "127.0.0.1", 0)
            self.port = server.port
            self.began.set()
            await self.over.wait()
            await server.stop(0)
            await journal.close()

    def channel(self):
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_send_message_length", -1)]
        return self.stack.enter_context(grpc.insecure_channel(f"127.0.0.1:{self.port}", options=options))

    def silent(self, channel, method="ModelInfer", first=()):
        """Begin a call whose message does not come."""

        def none():
            yield from first
            self.silence.wait(DEADLINE_S)

        return channel.stream_unary(f"/{SERVICE}/{method}").future(none())


def ask(channel, data=b"", method="ServerLive", **how):
    return channel.unary_unary(f"/{SERVICE}/{method}")(data, timeout=DEADLINE_S, **how)


def predict(channel, **fields):
    return ask(channel, infer(**fields), "ModelInfer")


def refusal(call):
    error = call.exception(timeout=DEADLINE_S)
    assert isinstance(error, grpc.RpcError), "it was answered"
    return error.code(), error.details()


@pytest.fixture
def house(shop):
    """Build a server of this test's own."""
    with contextlib.ExitStack() as stack:

        def make(**limits):
            made = House(shop, Limits(**limits))
            stack.callback(made.close)
            return made

        yield make


@pytest.fixture
def hurry(monkeypatch):
    """Let all patience be short."""
    for name, seconds in (("_CROWDED_S", 0.2), ("_SHORT_S", 0.1), ("_TICK_S", 0.02)):
        monkeypatch.setattr(grpc_crowd, name, seconds)


def until(true) -> None:
    end = time.monotonic() + DEADLINE_S
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_silent_calls_over_some_connections_shut_out_nobody(house, hurry):
    here = house(concurrent=16)  # 80 places
    crowd = [here.channel() for _ in range(4)]
    calls = [here.silent(crowd[i % 4]) for i in range(100)]
    other = here.channel()
    until(lambda: sum(call.done() for call in calls) >= 20)  # there was no place for them
    assert {refusal(call)[0] for call in calls if call.done()} == {StatusCode.RESOURCE_EXHAUSTED}
    time.sleep(0.15)  # those without a message make room for others of their own address after 0.1 s
    for _ in range(3):
        assert ask(other)
        assert predict(other)
    assert any("Others wait" in refusal(call)[1] for call in calls if call.done())
    assert predict(other)


def test_health_is_answered_over_the_connection_of_silent_calls_and_among_silent_health_calls(house, monkeypatch):
    monkeypatch.setattr(grpc_server, "_HEALTH_S", 0.05)
    here = house()
    channel = here.channel()
    for method in ("ModelInfer", "ModelReady"):
        here.silent(channel, method)
    silent = [here.silent(channel, method) for method in ("ServerLive", "ServerReady") for _ in range(40)]
    assert ask(channel)
    assert messages()["ServerReadyResponse"].FromString(ask(channel, method="ServerReady")).ready
    assert all(call.result(timeout=DEADLINE_S) for call in silent)


def test_a_message_that_does_not_come_ends_its_call_also_where_nobody_waits(house, monkeypatch):
    monkeypatch.setattr(grpc_crowd.Crowd.__init__, "__defaults__", (0.1,))
    here = house(body_bytes=100_000)
    code, details = refusal(here.silent(here.channel()))
    assert (code, "was not there after 0.2 seconds" in details) == (StatusCode.DEADLINE_EXCEEDED, True)


def test_a_call_that_ends_without_a_message_is_told_so(house):
    here = house()
    call = here.channel().stream_unary(f"/{SERVICE}/ModelInfer").future(iter(()))
    code, details = refusal(call)
    assert (code, "There is no message" in details) == (StatusCode.INVALID_ARGUMENT, True)


def test_few_large_messages_are_read_at_once_and_the_rest_waits_unread(house, monkeypatch):
    monkeypatch.setattr(grpc_crowd, "_BUDGET", 6_000_000)
    seen, most = [0], [0]
    real = Crowd.read

    async def counted(self, place, receive):
        async def received():
            seen[0] += 1
            most[0] = max(most[0], seen[0] + self._held // 1_000_000)
            try:
                return await receive()
            finally:
                seen[0] -= 1

        return await real(self, place, received)

    monkeypatch.setattr(Crowd, "read", counted)
    here = house(body_bytes=1_000_000)
    channels = [here.channel() for _ in range(4)]
    path = f"/{SERVICE}/ModelInfer"
    calls = [channels[i % 4].unary_unary(path).future(b"\xff" * 990_000, timeout=DEADLINE_S) for i in range(40)]
    assert {refusal(call)[0] for call in calls} <= {StatusCode.INVALID_ARGUMENT, StatusCode.RESOURCE_EXHAUSTED}
    assert 1 < most[0] <= 10
    assert predict(channels[0])


@pytest.mark.parametrize("length", [201, 3000, 20_000, 200_000])
def test_an_id_that_is_too_long_is_refused_and_does_not_go_back(house, length):
    call = house().channel().unary_unary(f"/{SERVICE}/ModelInfer").future(infer(id="x" * length), timeout=DEADLINE_S)
    code, details = refusal(call)
    assert (code, "more than 200 characters" in details) == (StatusCode.INVALID_ARGUMENT, True)
    assert len(dict(call.trailing_metadata())["interlock-request-id"]) <= 200


# ---------------------------------------------------------------- the crowd by itself


def crowded(test):
    """Run a test of a crowd in a loop."""

    def run(hurry):
        async def whole():
            await test(Crowd(32_000_000))  # four messages at once

        asyncio.run(whole())

    run.__name__, run.__doc__ = test.__name__, test.__doc__
    return run


async def never():
    await asyncio.Event().wait()


async def settle():
    for _ in range(5):
        await asyncio.sleep(0)


def begin(crowd, peer, receive=never, most=100):
    place = crowd.enter(peer, most)

    async def call():
        try:
            return await crowd.read(place, receive)
        finally:
            crowd.leave(place)

    return asyncio.ensure_future(call())


async def cancel(*tasks):
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@crowded
async def test_who_has_fewest_messages_in_reading_is_next(crowd):
    order, held = [], [begin(crowd, "ipv4:1:1") for _ in range(4)]

    def noted(name):
        async def receive():
            order.append(name)
            return b"x"

        return receive

    peers = ("ipv4:1:1", "ipv4:1:1", "ipv4:1:2", "ipv4:2:1")
    waiting = [begin(crowd, peer, noted(f"{peer} {i}")) for i, peer in enumerate(peers)]
    await settle()
    assert order == []
    await cancel(held[0])
    await asyncio.gather(*waiting)
    assert order == ["ipv4:2:1 3", "ipv4:1:2 2", "ipv4:1:1 0", "ipv4:1:1 1"]
    await cancel(*held)
    assert (crowd._open, crowd._addresses, crowd._reading, crowd._line) == (0, {}, {}, {})


@crowded
async def test_an_address_has_half_the_places_while_others_ask(crowd):
    alone = [crowd.enter("ipv4:1:1", 4) for _ in range(4)]  # while nobody else asks, all
    with pytest.raises(Error, match="4 calls are under way"):
        crowd.enter("ipv4:2:1", 4)
    crowd.leave(alone.pop())
    with pytest.raises(Error, match="2 calls of this address are under way, and others ask"):
        crowd.enter("ipv4:1:2", 4)
    crowd.leave(crowd.enter("ipv4:2:1", 4))


@crowded
async def test_a_silent_call_of_the_fullest_address_makes_room(crowd):
    silent = [begin(crowd, "ipv4:1:1", most=4) for _ in range(4)]
    await asyncio.sleep(0.001)
    with pytest.raises(Error, match="4 calls are under way"):
        crowd.enter("ipv4:1:2", 4)  # of the same address: too early to tell who is silent
    place = crowd.enter("ipv4:2:1", 4)
    await settle()
    assert [task.done() for task in silent] == [True, False, False, False]
    assert "has not come" in str(silent[0].exception())
    assert silent[0].cancelled() is False
    crowd.leave(place)
    await cancel(*silent)


@crowded
async def test_one_who_is_cancelled_in_line_or_at_its_turn_leaves_nothing_behind(crowd):
    held = [begin(crowd, "ipv4:1:1") for _ in range(4)]
    inline, called, last = (begin(crowd, "ipv4:1:1") for _ in range(3))
    await settle()
    await cancel(inline)
    held[0].cancel()
    await asyncio.sleep(0)  # its place goes to who is next, whose task has not run since
    await cancel(called)
    await settle()
    assert len(crowd._reading) == 4
    await cancel(*held, last)
    assert (crowd._open, crowd._reading, crowd._line) == (0, {}, {})


@crowded
async def test_large_messages_count_until_they_are_answered(crowd):
    places = [crowd.enter("ipv4:1:1", 100) for _ in range(3)]

    async def large():
        return bytes(50_000_000)

    for place in places[:2]:
        await crowd.read(place, large)
    with pytest.raises(Error, match="100000000 bytes of large messages"):
        await crowd.read(places[2], large)
    crowd.leave(places[0])
    assert len(await crowd.read(places[2], large)) == 50_000_000
    for place in places[1:]:
        crowd.leave(place)
    assert crowd._held == 0
