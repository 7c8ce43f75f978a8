"""The protocol over gRPC: real channels to a real engine, in one event loop of the kind that serves."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import struct
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
import uvloop
from grpc import StatusCode
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.core.bundles import Serving
from interlock.core.clock import SystemClock
from interlock.core.errors import Error, Invalid, MissingExtra, Unavailable
from interlock.serve.app import Limits
from interlock.serve.engine import Engine
from interlock.serve.grpc_calls import Call
from interlock.serve.grpc_infer import ask_of
from interlock.serve.grpc_messages import SERVICE, Messages, messages
from interlock.serve.grpc_server import code_of, details_of, start_grpc
from interlock.serve.hands import Hands
from interlock.serve.journal import open_journal
from interlock.serve.revision import LiveRoute, Revision, load_revision
from interlock.serve.sources import Wanted

GOOD = {"city": ["Oslo", "Lima"], "age": [21, 44], "spend": [10.0, 150.5]}
KINDS = {"city": "BYTES", "age": "INT64", "spend": "FP64"}
FIELDS = {"BYTES": "bytes_contents", "INT64": "int64_contents", "FP64": "fp64_contents"}
SECRET = 734_911
DEADLINE_S = 30


def kind(name):
    return messages()[name]


def encoded(values):
    return [v.encode() if isinstance(v, str) else v for v in values]


def request(columns=GOOD, **fields):
    """Return a sound request with typed contents, to be spoilt."""
    made = kind("ModelInferRequest")(**{"model_name": "shop", **fields})
    for name, values in columns.items():
        datatype = KINDS.get(name, "BYTES")
        tensor = made.inputs.add(name=name, datatype=datatype, shape=[len(values)])
        getattr(tensor.contents, FIELDS[datatype]).extend(encoded(values))
    return made


def raw_request(columns=GOOD, **fields):
    made = kind("ModelInferRequest")(**{"model_name": "shop", **fields})
    packed = {"age": "<q", "spend": "<d"}
    for name, values in columns.items():
        made.inputs.add(name=name, datatype=KINDS.get(name, "BYTES"), shape=[len(values)])
        parts = [
            struct.pack("<I", len(v)) + v if isinstance(v, bytes) else struct.pack(packed[name], v)
            for v in encoded(values)
        ]
        made.raw_input_contents.append(b"".join(parts))
    return made


class House:
    """An engine and its gRPC server in a thread with uvloop, and a channel from here."""

    def __init__(self, shop, limits=None, ready=True):
        self.shop, self.limits, self.ready = shop, limits or Limits(), ready
        self.began = threading.Event()
        self.thread = threading.Thread(target=lambda: uvloop.run(self._live()), daemon=True)

    def __enter__(self):
        self.thread.start()
        assert self.began.wait(DEADLINE_S)
        self.channel = grpc.insecure_channel(f"127.0.0.1:{self.server.port}")
        return self

    def __exit__(self, *_):
        self.channel.close()
        self.loop.call_soon_threadsafe(self.over.set)
        self.thread.join(DEADLINE_S)
        assert not self.thread.is_alive()

    async def _live(self):
        self.loop, self.over = asyncio.get_running_loop(), asyncio.Event()
        with ThreadPoolExecutor(2) as pool:
            journal = open_journal(self.shop.store.predictions.folder, "fsync")
            self.engine = Engine("shop", journal, SystemClock(), Hands(pool))
            if self.ready:
                spec = self.shop.store.database.one("SELECT spec FROM deployments")["spec"]
                self.engine.revision = load_revision(self.shop.source(), Wanted(1, spec), {})
            self.server = await start_grpc(self.engine, self.limits, "127.0.0.1", 0)
            self.began.set()
            await self.over.wait()
            await self.server.stop(1)
            await journal.close()

    def run(self, coroutine):
        """Return what a coroutine returns that is run in the server's loop."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(DEADLINE_S)

    def begin(self, data, metadata=(), method="ModelInfer", timeout=DEADLINE_S):
        data = data if isinstance(data, bytes) else data.SerializeToString()
        return self.channel.unary_unary(f"/{SERVICE}/{method}").future(data, timeout=timeout, metadata=metadata)

    def ask(self, method, /, **fields):
        found = self.begin(kind(f"{method}Request")(**fields), method=method).result()
        return kind(f"{method}Response").FromString(found)

    def infer(self, made, metadata=()):
        call = self.begin(made, metadata)
        answer = kind("ModelInferResponse").FromString(call.result())
        return answer, dict(call.trailing_metadata())

    def refusal(self, data, **how):
        """Return the code and the words of a call that fails."""
        call = self.begin(data, **how)
        error = call.exception()
        assert isinstance(error, grpc.RpcError), "it was answered"
        return error.code(), error.details()

    def recorded(self, ids):
        wanted = {i.decode() for i in ids}
        return {row.id: row for row in self.shop.store.predictions.rows() if row.id in wanted}


def values(answer):
    return {t.name: list(getattr(t.contents, FIELDS[t.datatype])) for t in answer.outputs}


@pytest.fixture(scope="module")
def house(tmp_path_factory, kinds, live):
    """One server for all tests that only ask: champion over text, whole numbers and floats."""
    shop = type(live.shop)(tmp_path_factory.mktemp("grpc") / ".interlock", kinds)
    shop.deploy(route_of(shop))
    with House(shop) as made:
        yield made
    shop.close()


def route_of(shop):
    from interlock.core.bundles import Route

    return Route("model:buyer@3", shop.bundle("customers"), 1.0, "champion")


@pytest.fixture
def own(shop):
    """Build a server of this test's own."""
    shop.deploy(route_of(shop))
    with contextlib.ExitStack() as stack:
        yield lambda **how: stack.enter_context(House(shop, **how))


def test_health(house):
    assert house.ask("ServerLive").live
    assert house.ask("ServerReady").ready
    assert house.ask("ModelReady", name="shop").ready
    assert house.ask("ModelReady", name="buyer", version="3").ready
    assert not house.ask("ModelReady", name="nobody").ready
    assert not house.ask("ModelReady", name="buyer", version="999").ready


def test_metadata_describe_the_server_and_its_models(house):
    server = house.ask("ServerMetadata")
    assert (server.name, bool(server.version)) == ("interlock", True)
    for name in ("shop", "buyer"):
        found = house.ask("ModelMetadata", name=name)
        assert (found.name, list(found.versions), found.platform) == (name, ["3"], "interlock_onnx")
        assert [(t.name, t.datatype, list(t.shape)) for t in found.inputs] == [(n, d, [-1]) for n, d in KINDS.items()]
        assert [(t.name, t.datatype) for t in found.outputs] == [
            ("buys", "INT64"),
            ("probability", "FP64"),
            ("prediction_id", "BYTES"),
            ("probabilities", "FP64"),
        ]
        assert [list(t.shape) for t in found.outputs] == [[-1], [-1], [-1], [-1, 2]]


def test_an_answer_has_label_probability_and_id(house):
    answer, trailing = house.infer(request(id="call-7"))
    assert (answer.id, answer.model_name, answer.model_version) == ("call-7", "shop", "3")
    found = values(answer)
    assert found["buys"] == [int(p > 0.5) for p in found["probability"]]
    assert len(set(found["prediction_id"])) == 2
    assert not answer.raw_output_contents
    assert trailing["interlock-model"] == "model:buyer@3"
    assert trailing["interlock-revision"] == "1"
    assert trailing["interlock-request-id"] == "call-7"


def test_the_golden_rows_get_the_scores_of_training_and_those_of_rest(house, kinds, live, tools):
    made = kinds["customers"]
    columns = {name: [row[name] for row in made.rows] for name, _ in made.columns}
    answer, _ = house.infer(request(columns))
    assert values(answer)["probability"] == pytest.approx(made.scores, abs=1e-5)
    rest = live.client.post("/v2/models/shop/infer", json=tools.oip(**columns)).json()["outputs"]
    assert values(answer)["probability"] == next(t["data"] for t in rest if t["name"] == "probability")


def test_raw_contents_are_answered_raw_and_the_same(house):
    typed, _ = house.infer(request())
    raw, _ = house.infer(raw_request())
    assert [t.name for t in raw.outputs] == ["buys", "probability", "prediction_id"]
    labels, scores, ids = raw.raw_output_contents
    assert list(struct.unpack("<2q", labels)) == values(typed)["buys"]
    assert list(struct.unpack("<2d", scores)) == values(typed)["probability"]
    assert struct.unpack_from("<I", ids) == (26,)
    assert not any(t.HasField("contents") for t in raw.outputs)


@pytest.mark.parametrize(
    ("datatype", "field"),
    [
        ("INT8", "int_contents"),
        ("INT32", "int_contents"),
        ("UINT16", "uint_contents"),
        ("FP32", "fp32_contents"),
        ("UINT64", "uint64_contents"),
    ],
)
def test_numbers_may_come_in_any_datatype_that_holds_them(house, datatype, field):
    made = request()
    age = made.inputs[1]
    age.ClearField("contents")
    age.datatype = datatype
    getattr(age.contents, field).extend([21, 44])
    age.shape[:] = [2, 1]
    assert values(house.infer(made)[0])["probability"] == values(house.infer(request())[0])["probability"]


@pytest.mark.parametrize("raw", [False, True])
def test_a_table_of_all_columns_is_one_tensor(shop, tools, raw):
    view = Revision("shop", 1, "", [LiveRoute(r := tools.route(shop.bundle("people")), shop.source().load(r.bundle))])
    made = kind("ModelInferRequest")(model_name="shop")
    tensor = made.inputs.add(name="dense", datatype="FP32", shape=[2, 3])
    rows = [40.0, 38.0, 30.0, 20.0, 30.5, 12.25]
    if raw:
        made.raw_input_contents.append(struct.pack("<6f", *rows))
    else:
        tensor.contents.fp32_contents.extend(rows)
    found = ask_of(made, view.whole)
    assert (found.rows, dict(found.columns)) == (2, {"age": rows[::3], "hours": rows[1::3], "income": rows[2::3]})
    tensor.shape[:] = [3, 2]
    with pytest.raises(Invalid, match="2 columns, the model takes 3"):
        ask_of(made, view.whole)


@pytest.mark.parametrize("make", [request, raw_request])
def test_only_the_wanted_outputs_come_back(house, make):
    made = make()
    made.outputs.add(name="probability")
    answer, _ = house.infer(made)
    assert [t.name for t in answer.outputs] == ["probability"]
    assert len(answer.raw_output_contents) == (make is raw_request)


@pytest.mark.parametrize("make", [request, raw_request])
def test_all_probabilities_come_where_they_are_asked_for(house, make):
    made = make()
    for name in ("probabilities", "probability"):
        made.outputs.add(name=name)
    answer, _ = house.infer(made)
    one, every = answer.outputs
    assert (every.name, every.datatype, list(every.shape)) == ("probabilities", "FP64", [2, 2])
    assert (every.parameters["classes"].string_param, dict(one.parameters)) == ("[0,1]", {})
    if make is raw_request:
        p, table = (list(struct.unpack(f"<{len(raw) // 8}d", raw)) for raw in answer.raw_output_contents)
    else:
        p, table = values(answer)["probability"], values(answer)["probabilities"]
    assert table[1::2] == p
    assert [a + b for a, b in zip(table[::2], table[1::2], strict=True)] == pytest.approx([1, 1])


def test_subjects_and_instants_are_recorded_from_tensors(house):
    when = ["2026-03-01T12:00:00Z", "2026-03-02T12:00:00Z"]
    answer, _ = house.infer(request({**GOOD, "subject": ["ann", "bo"], "occurred_at": when}))
    ids = values(answer)["prediction_id"]
    rows = house.recorded(ids)
    assert [rows[i.decode()].subject for i in ids] == ["ann", "bo"]
    assert [rows[i.decode()].occurred_at for i in ids] == [1_772_366_400_000_000, 1_772_452_800_000_000]


@pytest.mark.parametrize(
    ("key", "value", "subject"), [("interlock-subject", "ann", "ann"), ("interlock-subject-bin", "Åsa".encode(), "Åsa")]
)
def test_subjects_and_instants_are_recorded_from_metadata(house, key, value, subject):
    metadata = [(key, value), ("interlock-occurred-at", "2026-03-01T12:00:00Z"), ("x-request-id", "r-1")]
    answer, trailing = house.infer(request(), metadata)
    rows = house.recorded(values(answer)["prediction_id"]).values()
    found = {(r.subject, r.occurred_at, r.request_id, r.caller) for r in rows}
    assert found == {(subject, 1_772_366_400_000_000, "r-1", "127.0.0.1")}
    assert len(rows) == 2
    assert (answer.id, trailing["interlock-request-id"]) == ("r-1", "r-1")


def test_statistics_and_index_are_those_of_rest(house):
    house.infer(request())
    (found,) = house.ask("ModelStatistics", name="shop").model_stats
    assert (found.name, found.version) == ("buyer", "3")
    assert found.inference_count >= 2
    assert found.inference_stats.success.ns > 0
    assert house.ask("ModelStatistics").model_stats[0].name == "buyer"
    assert [(m.name, m.version, m.state) for m in house.ask("RepositoryIndex").models] == [("buyer", "3", "READY")]
    assert house.ask("RepositoryIndex", ready=True) == house.ask("RepositoryIndex")


@pytest.mark.parametrize(
    ("change", "parameters", "words"),
    [
        ("Load", {}, "not loaded by hand"),
        ("Unload", {}, "not loaded by hand"),
        ("Load", {"config": {"string_param": "{}"}}, "as it was registered"),
        ("Load", {"file:1/model.onnx": {"bytes_param": b"x"}}, "as it was registered"),
    ],
)
def test_models_are_loaded_over_grpc_only_where_rest_does_it_and_only_as_registered(house, change, parameters, words):
    method = f"RepositoryModel{change}"
    made = kind(f"{method}Request")(model_name="buyer", parameters=parameters)
    code, details = house.refusal(made, method=method)
    assert (code, words in details) == (StatusCode.INVALID_ARGUMENT, True), details


# ---------------------------------------------------------------- refusals


def _tensor(at, **fields):
    def spoil(made):
        for name, value in fields.items():
            if name == "shape":
                made.inputs[at].shape[:] = value
            else:
                setattr(made.inputs[at], name, value)

    return spoil


def _other_field(made):
    made.inputs[1].ClearField("contents")
    made.inputs[1].contents.fp64_contents.extend([21.0, 44.0])


def _second_field(made):
    made.inputs[1].contents.fp64_contents.extend([21.0, 44.0])


def _no_data(made):
    made.inputs[1].ClearField("contents")


def _out_of_range(made):
    made.inputs[1].ClearField("contents")
    made.inputs[1].datatype = "INT8"
    made.inputs[1].contents.int_contents.extend([1, SECRET])


def _not_utf8(made):
    made.inputs[0].contents.bytes_contents[1] = b"\xff\xfe"


def _type_of_column(made):
    made.inputs[1].CopyFrom(made.inputs[0])
    made.inputs[1].name = "age"
    made.inputs[1].contents.bytes_contents[1] = str(SECRET).encode()


def _fraction(made):
    _other_field(made)
    made.inputs[1].datatype = "FP64"
    made.inputs[1].contents.fp64_contents[1] = SECRET + 0.5


BAD = [
    (_tensor(1, name="agee"), "'agee'"),
    (_tensor(1, name="city"), "'city' is there twice"),
    (_tensor(1, name="subjects"), "'subjects'"),
    (_tensor(1, datatype="INT65"), "'age' has a datatype"),
    (_tensor(1, datatype="FP16"), "'age': FP16"),
    (_tensor(1, datatype="FP32"), "'age' has data in int64_contents. Data of FP32 go in fp32_contents"),
    (_tensor(1, shape=[]), "'age' has the shape []"),
    (_tensor(1, shape=[3]), "'age' has 2 elements"),
    (_tensor(1, shape=[-2]), "'age' has the shape [-2]"),
    (_tensor(1, shape=[1, 2]), "'age' has the shape [1, 2]"),
    (_tensor(1, shape=[2**62, 1]), "'age' has 2 elements"),
    (_other_field, "'age' has data in fp64_contents. Data of INT64 go in int64_contents"),
    (_second_field, "'age' has data in int64_contents, fp64_contents"),
    (_no_data, "'age' has 0 elements"),
    (_out_of_range, "'age': element 1 does not fit into INT8"),
    (_not_utf8, "'city': element 1 is not UTF-8"),
    (_type_of_column, "'age', row 0 (and 1 more row): the value is text, the column takes whole numbers"),
    (_fraction, "'age', row 1: the value is a fraction, the column takes whole numbers"),
    (lambda made: made.inputs.pop(), "'spend' is missing"),
    (lambda made: made.ClearField("inputs"), "There are no inputs"),
    (lambda made: made.outputs.add(name="score"), "no output 'score'"),
    (lambda made: made.outputs.add(name="buys").parameters["shared_memory_region"].SetInParent(), "shared memory"),
    (lambda made: made.parameters["subject_id"].SetInParent(), "no parameter 'subject_id'"),
    (lambda made: made.raw_input_contents.append(b"1"), "3 inputs and 1 raw_input_contents"),
    (lambda made: made.raw_input_contents.extend([b"1", b"2", b"3"]), "'city' has contents"),
    (lambda made: setattr(made, "id", "x" * 300), "more than 200 characters"),
]


@pytest.mark.parametrize(("spoil", "words"), BAD)
def test_a_bad_request_is_an_invalid_argument_that_names_the_place_and_no_value(house, spoil, words):
    made = request()
    spoil(made)
    code, details = house.refusal(made)
    assert code is StatusCode.INVALID_ARGUMENT, details
    assert words in details
    assert str(SECRET) not in details
    assert "Lima" not in details


@pytest.mark.parametrize("raw", [b"", b"\x01", b"\x05\0\0\0Osl", b"\x01\0\0\0\xff\x01\0\0\0a", bytes(100)])
def test_raw_bytes_that_do_not_fill_the_shape(house, raw):
    made = raw_request()
    made.raw_input_contents[0] = raw
    code, details = house.refusal(made)
    assert (code, "'city'" in details) == (StatusCode.INVALID_ARGUMENT, True), details


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"model_name": "shoop"}, "Did you mean 'shop'?"),
        ({"model_version": "9"}, "'shop@9'"),
        ({"model_name": ""}, "''"),
    ],
)
def test_an_unknown_model_is_not_found(house, fields, words):
    code, details = house.refusal(request(**fields))
    assert (code, words in details) == (StatusCode.NOT_FOUND, True), details


@pytest.mark.parametrize("method", ["ModelMetadata", "ModelStatistics"])
def test_an_unknown_model_is_not_found_by_the_other_calls(house, method):
    assert house.refusal(kind(f"{method}Request")(name="nope"), method=method)[0] is StatusCode.NOT_FOUND


@pytest.mark.parametrize(
    "metadata",
    [
        [("interlock-occurred-at", "yesterday")],
        [("interlock-subject-bin", b"\xff")],
        [("interlock-subject", "x" * 501)],
    ],
)
def test_metadata_that_are_none_are_refused(house, metadata):
    code, details = house.refusal(request(), metadata=metadata)
    assert code is StatusCode.INVALID_ARGUMENT
    assert "yesterday" not in details


def test_an_error_carries_the_request_id(house):
    call = house.begin(b"\xff", [("x-request-id", "r-9")])
    assert call.code() is StatusCode.INVALID_ARGUMENT
    assert dict(call.trailing_metadata())["interlock-request-id"] == "r-9"


def test_a_call_that_does_not_exist_is_unimplemented(house):
    assert house.refusal(b"", method="ModelStreamInfer")[0] is StatusCode.UNIMPLEMENTED


ENDINGS = {StatusCode.INVALID_ARGUMENT, StatusCode.NOT_FOUND}


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_no_bytes_are_an_internal_error(house, data):
    good = data.draw(st.sampled_from([request, raw_request]))().SerializeToString()
    cut = data.draw(st.integers(0, len(good)))
    end = data.draw(st.integers(cut, len(good)))
    spoilt = good[:cut] + data.draw(st.binary(max_size=12)) + good[end:]
    call = house.begin(spoilt)
    assert call.code() in {*ENDINGS, StatusCode.OK}, call.details()
    method = data.draw(st.sampled_from(["ModelMetadata", "ServerLive", "ModelStatistics", "RepositoryIndex"]))
    assert house.begin(spoilt, method=method).code() in {*ENDINGS, StatusCode.OK}


# ---------------------------------------------------------------- load, time, the end


class Stuck:
    """A gate in front of a journal, so that calls stay under way until it opens."""

    def __init__(self, house):
        self.journal, self.gate, self.inside = house.engine.journal, asyncio.Event(), threading.Semaphore(0)
        self._record = self.journal.record
        self.journal.record = self.record

    async def record(self, answered, beside=None):
        self.inside.release()
        await self.gate.wait()
        await self._record(answered)


def test_a_busy_server_says_so_and_still_answers_for_its_health(own):
    house = own(limits=Limits(concurrent=2))
    stuck = Stuck(house)
    waiting = [house.begin(request()) for _ in range(2)]
    for _ in waiting:
        assert stuck.inside.acquire(timeout=DEADLINE_S)
    code, details = house.refusal(request())
    assert (code, "2 requests are under way" in details) == (StatusCode.RESOURCE_EXHAUSTED, True)
    assert house.ask("ServerLive").live
    house.loop.call_soon_threadsafe(stuck.gate.set)
    assert [len(call.result()) > 0 for call in waiting] == [True, True]
    assert house.engine.under_way == 0
    assert house.infer(request())


def test_the_bound_follows_what_the_deployments_spec_says(own):
    house = own(limits=Limits(concurrent=2))
    revision = house.engine.revision
    house.engine.revision = Revision(revision.deployment, 2, revision.spec, revision.routes, Serving(concurrent=1))
    stuck = Stuck(house)
    waiting = house.begin(request())
    assert stuck.inside.acquire(timeout=DEADLINE_S)
    code, details = house.refusal(request())
    assert (code, "1 requests are under way" in details) == (StatusCode.RESOURCE_EXHAUSTED, True)
    house.loop.call_soon_threadsafe(stuck.gate.set)
    assert waiting.result()


def test_a_message_over_the_limit_is_refused_also_when_it_came_compressed(own):
    house = own(limits=Limits(body_bytes=10_000))
    many = request({name: column * 5000 for name, column in GOOD.items()}).SerializeToString()
    assert house.refusal(many)[0] is StatusCode.RESOURCE_EXHAUSTED
    call = house.channel.unary_unary(f"/{SERVICE}/ModelInfer").future(many, compression=grpc.Compression.Gzip)
    assert call.code() is StatusCode.RESOURCE_EXHAUSTED
    small = request().SerializeToString()
    assert house.channel.unary_unary(f"/{SERVICE}/ModelInfer")(small, compression=grpc.Compression.Gzip)


def test_a_deadline_ends_the_call_and_frees_its_place(own, tools):
    house = own()
    stuck = Stuck(house)
    assert house.refusal(request(), timeout=0.2)[0] is StatusCode.DEADLINE_EXCEEDED
    tools.until(lambda: house.engine.under_way == 0)
    assert stuck.inside.acquire(blocking=False)
    path = f"/{SERVICE}/ModelInfer"
    tools.until(lambda: house.engine.metrics.requests[path, "", StatusCode.CANCELLED.value[0]] == 1)


def test_without_a_model_it_lives_and_is_not_ready(own):
    house = own(ready=False)
    assert house.ask("ServerLive").live
    assert not house.ask("ServerReady").ready
    assert house.refusal(request())[0] is StatusCode.UNAVAILABLE
    assert house.engine.under_way == 0


def test_a_fault_of_ours_is_internal_and_tells_nothing(own, monkeypatch, caplog):
    house = own()

    async def broken(*_):
        raise ZeroDivisionError("inside")

    monkeypatch.setattr(house.engine, "answer", broken)
    with caplog.at_level(logging.ERROR, "interlock.serve"):
        code, details = house.refusal(request(id="r-5"))
    assert code is StatusCode.INTERNAL
    assert "r-5" in details
    assert "inside" not in details
    assert "request r-5 failed" in caplog.text


def test_a_stop_lets_calls_under_way_end(own):
    house = own()
    stuck = Stuck(house)
    waiting = house.begin(request())
    assert stuck.inside.acquire(timeout=DEADLINE_S)

    async def stop():
        stopping = asyncio.create_task(house.server.stop(DEADLINE_S))
        await asyncio.sleep(0.05)
        stuck.gate.set()
        await stopping

    house.run(stop())
    answer = kind("ModelInferResponse").FromString(waiting.result())
    assert len(house.recorded(values(answer)["prediction_id"])) == 2
    assert house.refusal(request())[0] is StatusCode.UNAVAILABLE


def test_a_stop_cancels_what_outlives_its_grace(own, tools):
    house = own()
    stuck = Stuck(house)
    waiting = house.begin(request())
    assert stuck.inside.acquire(timeout=DEADLINE_S)
    house.run(house.server.stop(0.05))
    assert waiting.code() in {StatusCode.UNAVAILABLE, StatusCode.CANCELLED}
    tools.until(lambda: house.engine.under_way == 0)


def test_many_calls_at_once_make_no_noise(house, caplog, capfd):
    calls = [house.begin(request(id=str(i))) for i in range(200)]
    answers = [kind("ModelInferResponse").FromString(call.result()) for call in calls]
    assert [answer.id for answer in answers] == [str(i) for i in range(200)]
    assert not caplog.text
    assert "BlockingIOError" not in capfd.readouterr().err
    assert house.engine.under_way == 0


def test_every_call_is_counted(own, tools):
    house = own()
    house.infer(request())
    house.refusal(b"\xff")
    counted = house.engine.metrics.requests
    path = f"/{SERVICE}/ModelInfer"
    assert counted[path, "model:buyer@3", 0] == 1
    tools.until(lambda: counted[path, "", StatusCode.INVALID_ARGUMENT.value[0]] == 1)


def test_a_port_that_is_taken_is_an_error(own):
    house = own()
    with pytest.raises(Unavailable, match=f":{house.server.port} cannot be listened on") as caught:
        house.run(start_grpc(house.engine, Limits(), "127.0.0.1", house.server.port))
    assert "--grpc-port" in caught.value.hint


def test_ipv6(own):
    house = own()
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("no IPv6 here")
    server = house.run(start_grpc(house.engine, Limits(), "::1", 0))
    with grpc.insecure_channel(f"[::1]:{server.port}") as channel:
        assert channel.unary_unary(f"/{SERVICE}/ServerLive")(b"")
    house.run(server.stop(0))


@pytest.mark.parametrize("module", ["grpc", "google.protobuf"])
def test_without_the_extra_the_error_says_how_to_install_it(monkeypatch, module):
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setattr("interlock.serve.grpc_server.messages", Messages)
    with pytest.raises(MissingExtra, match=module) as caught:
        asyncio.run(start_grpc(None, Limits(), "127.0.0.1", 0))
    assert "pip install 'interlock[grpc]'" in caught.value.hint


@pytest.mark.parametrize(
    ("peer", "caller"),
    [("ipv4:10.0.0.7:4711", "10.0.0.7"), ("ipv6:%5B::1%5D:4711", "::1"), ("unix:/tmp/x", ""), ("", "")],
)
def test_the_caller_is_an_address_without_its_port(peer, caller):
    assert Call((), peer).caller == caller


def test_codes_of_errors():
    assert code_of(Unavailable("x", status=429)) == "RESOURCE_EXHAUSTED"
    assert code_of(Invalid("x", status=413)) == "RESOURCE_EXHAUSTED"
    assert code_of(Unavailable("x", status=504)) == "DEADLINE_EXCEEDED"
    assert code_of(Error("x")) == "INTERNAL"


def test_details_are_cut_to_what_a_status_can_carry(house):
    assert len(details_of(Error("ø" * 5000)).encode()) <= 2003
    code, details = house.refusal(request(model_name="ø" * 100_000))
    assert (code, details.endswith("...")) == (StatusCode.NOT_FOUND, True)


# ---------------------------------------------------------------- the server process


def test_a_server_process_answers_by_both_ways_and_drains(shop, serve, tools):
    shop.deploy(route_of(shop))
    server = serve("shop", "--grpc-port", "0")
    with grpc.insecure_channel(f"127.0.0.1:{server.said['grpc_port']}") as channel:
        infer = channel.unary_unary(f"/{SERVICE}/ModelInfer")
        answers = [kind("ModelInferResponse").FromString(infer(request().SerializeToString())) for _ in range(20)]
    rest = server.infer(**GOOD).json()["outputs"]
    assert values(answers[0])["probability"] == next(t["data"] for t in rest if t["name"] == "probability")
    assert server.stop() == 0, server.errors.read_text()
    assert "BlockingIOError" not in server.errors.read_text()
    rows = {row.id for row in shop.store.predictions.rows()}
    assert {i.decode() for answer in answers for i in values(answer)["prediction_id"]} <= rows


def test_no_acknowledged_prediction_is_lost_when_the_process_is_killed(shop, serve):
    shop.deploy(route_of(shop))
    server = serve("shop", "--grpc-port", "0")
    told = []

    def load():
        with grpc.insecure_channel(f"127.0.0.1:{server.said['grpc_port']}") as channel:
            infer = channel.unary_unary(f"/{SERVICE}/ModelInfer")
            with contextlib.suppress(grpc.RpcError):
                while True:
                    answer = kind("ModelInferResponse").FromString(infer(request().SerializeToString()))
                    told.extend(values(answer)["prediction_id"])

    threads = [threading.Thread(target=load) for _ in range(4)]
    for thread in threads:
        thread.start()
    while len(told) < 100:
        threads[0].join(0.01)
        assert server.process.poll() is None
    server.process.kill()
    for thread in threads:
        thread.join(DEADLINE_S)
    rows = {row.id for row in shop.store.predictions.rows()}
    assert {i.decode() for i in told} <= rows
