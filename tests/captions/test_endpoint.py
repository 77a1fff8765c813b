"""The chat endpoint captioner against a real HTTP server on this machine."""

from __future__ import annotations

import base64
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from caption_records import artwork, artwork_descriptors, track, track_descriptors
from chat_server import Server, always, completion
from PIL import Image
from urllib3.util import Retry

from artsound.captions import endpoint
from artsound.captions.base import CHAT_PROMPTS, CaptionItem
from artsound.captions.checks import Limits, failure, tidy
from artsound.captions.endpoint import KEY_VARIABLE, EndpointCaptioner
from artsound.errors import BadData
from artsound.sources.http import Patience


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.close()


def _items(folder: Path, count: int = 4) -> list[CaptionItem]:
    items = []
    for number in range(count):
        path = folder / f"{number}.jpg"
        Image.fromarray(np.full((20, 30, 3), number * 40, np.uint8)).save(path)
        record = artwork(artwork_id=path.name, image_sha256=f"{number:064x}")
        items.append(CaptionItem("artwork", path.name, record, artwork_descriptors(), path))
    return items


@contextmanager
def _raw_server(answer: Callable[[], Iterator[bytes]]) -> Iterator[str]:
    """A server that sends these bytes for any request, and closes."""
    listening = socket.create_server(("127.0.0.1", 0))
    ended = threading.Event()

    def serve() -> None:
        while not ended.is_set():
            try:
                connection, _ = listening.accept()
                with connection:
                    connection.recv(1 << 20)
                    for data in answer():
                        if ended.is_set():
                            break
                        connection.sendall(data)
            except OSError:
                pass

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/v1"
    finally:
        ended.set()
        with socket.create_connection(listening.getsockname()):  # ends its accept
            pass
        thread.join(5)
        listening.close()


def _captioner(server: Server | str, folder: Path, side: str = "artwork") -> EndpointCaptioner:
    return EndpointCaptioner(
        side,
        server if isinstance(server, str) else server.url,
        "some-model",
        prompt="",
        max_new_tokens=60,
        requests_at_once=3,
        responses=folder / "responses",
        retry=Retry(total=2, backoff_factor=0.01, status_forcelist=(503,), allowed_methods=None,
                    raise_on_status=False),
    )  # fmt: skip


def test_each_picture_is_sent_with_the_prompt_and_its_answer_comes_back_in_order(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY_VARIABLE, "for the test")

    def answer(number: int, body: dict[str, Any]) -> tuple[int, bytes]:
        sent = body["messages"][0]["content"][0]["image_url"]["url"]
        jpeg = base64.b64decode(sent.removeprefix("data:image/jpeg;base64,"))
        return 200, completion(f"{len(jpeg)} bytes of {jpeg[:2].hex()}")

    server.answer = answer
    items = _items(tmp_path)
    texts = _captioner(server, tmp_path).captions(items)
    assert texts == [f"{item.media.stat().st_size} bytes of ffd8" for item in items]
    request = server.requests[0]
    assert request["model"] == "some-model"
    assert request["temperature"] == 0
    assert request["messages"][0]["content"][1]["text"] == CHAT_PROMPTS["artwork"]
    assert server.headers[0]["path"] == "/v1/chat/completions"
    assert server.headers[0]["Authorization"] == "Bearer for the test"
    assert "for the test" not in "".join(p.read_text() for p in tmp_path.rglob("*.json"))


def test_a_request_is_sent_once_and_its_answer_cached(server: Server, tmp_path: Path) -> None:
    items = _items(tmp_path)
    first = _captioner(server, tmp_path).captions(items)
    assert _captioner(server, tmp_path).captions(items) == first
    assert len(server.requests) == 4


def test_a_busy_server_is_asked_again(server: Server, tmp_path: Path) -> None:
    server.answer = lambda number, _body: (
        (503, b"") if number == 1 else (200, completion("A calm sea."))
    )
    assert _captioner(server, tmp_path).captions(_items(tmp_path, 1)) == ["A calm sea."]
    assert len(server.requests) == 2


def test_a_picture_that_the_server_will_not_take_has_no_text(
    server: Server, tmp_path: Path
) -> None:
    server.answer = always(400, b'{"error": "too large"}')
    assert _captioner(server, tmp_path).captions(_items(tmp_path, 2)) == ["", ""]


def test_a_clip_is_sent_as_input_audio(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "a.mp3"
    path.write_bytes(b"sound")
    item = CaptionItem("track", "000002", track(), track_descriptors(), path)
    _captioner(server, tmp_path, "track").captions([item])
    sent = server.requests[0]["messages"][0]["content"][0]
    assert sent["input_audio"] == {"data": base64.b64encode(b"sound").decode(), "format": "mp3"}


@pytest.mark.parametrize(
    ("status", "data", "sentence"),
    [
        (401, b"", "answered 401 for 0.jpg: check"),
        (401, b'{"error": {"message": "bad\\nkey secret"}}', r"401 for 0.jpg \(bad key …\): check"),
        (404, b'{"detail": "Not Found"}', r"404 for 0.jpg \(Not Found\)"),
        (503, b"", "answered 503 for 0.jpg"),
        (200, b"<html> <p>", "sent no chat completion, but '<html> <p>'"),
        (200, b"\xff\xfe\x00{", "sent no chat completion"),
        (200, b"", "sent no chat completion, but ''"),
        (200, b"[" * 100_000, "sent no chat completion"),
        (200, b'{"choices": []}', "sent no chat completion"),
        (200, b'{"choices": {"0": 1}}', "sent no chat completion"),
        (200, b'data: {"choices": [{"delta": {}}]}', "sent no chat completion"),
        (200, b'{"error": {"message": "out of memory"}}', r"with an error \(out of memory\)"),
        (200, b'"' + b"x" * (1 << 20) + b'"', "more than 1048576 bytes"),
    ],
)
def test_any_other_answer_is_one_sentence(
    server: Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    status: int,
    data: bytes,
    sentence: str,
) -> None:
    monkeypatch.setenv(KEY_VARIABLE, "secret")
    server.answer = always(status, data)
    with pytest.raises(BadData, match=sentence) as error:
        _captioner(server, tmp_path).captions(_items(tmp_path, 1))
    assert str(error.value).isprintable()
    assert "secret" not in str(error.value)


def _endless(count: int, pause: float) -> Iterator[bytes]:
    for _ in range(count):
        time.sleep(pause)
        yield b" "


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{",  # shorter than it says
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"nonsense\r\n\r\n",
    ],
)
def test_an_answer_that_breaks_off_is_one_error(tmp_path: Path, head: bytes) -> None:
    message = r"cannot be reached, or its answer breaks off \("
    with _raw_server(lambda: iter([head])) as url, pytest.raises(BadData, match=message):
        _captioner(url, tmp_path).captions(_items(tmp_path, 1))


def test_an_answer_that_trickles_is_broken_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoint, "_ANSWER", Patience(stall=30.0, body=0.05))
    head = b"HTTP/1.1 200 OK\r\n\r\n"
    endless = _raw_server(lambda: chain([head], _endless(1000, 0.01)))
    with endless as url, pytest.raises(BadData, match="not done after"):
        _captioner(url, tmp_path).captions(_items(tmp_path, 1))


def test_a_server_that_refuses_everything_is_not_taken_for_one_that_refuses_pictures(
    server: Server, tmp_path: Path
) -> None:
    server.answer = always(400, b'{"error": {"message": "not a multimodal model"}}')
    items = _items(tmp_path, 9)
    captioner = _captioner(server, tmp_path)
    message = r"400 for \d.jpg \(not a multimodal model\), as for the 7 items before: .*pictures"
    with pytest.raises(BadData, match=message):
        captioner.captions(items)
    server.answer = always(200, completion("A calm sea."))  # what was refused is asked again
    assert _captioner(server, tmp_path).captions(items) == ["A calm sea."] * 9


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ([{"type": "text", "text": "A calm "}, {"type": "text", "text": "sea."}], "A calm sea."),
        ("A \ud800calm sea.", "A calm sea."),
        ({"text": "x"}, ""),
        (7, ""),
    ],
)
def test_texts_in_parts_are_joined_and_what_no_file_can_hold_is_left_out(
    server: Server, tmp_path: Path, content: Any, text: str
) -> None:
    server.answer = always(200, completion(content))
    assert _captioner(server, tmp_path).captions(_items(tmp_path, 1)) == [text]


@pytest.mark.parametrize("text", ["word " * 20_000, "x" * 100_000, "<" * 100_000, "a\0b " * 9])
def test_a_text_beyond_all_limits_is_no_caption(text: str, tmp_path: Path) -> None:
    [item] = _items(tmp_path, 1)
    assert failure(tidy(text), item, Limits(5, 60))


def test_a_content_that_is_no_text_is_no_caption(server: Server, tmp_path: Path) -> None:
    server.answer = always(200, completion(None))
    assert _captioner(server, tmp_path).captions(_items(tmp_path, 1)) == [""]


def test_a_server_that_is_not_there_is_named(server: Server, tmp_path: Path) -> None:
    captioner = _captioner(server, tmp_path)
    server.close()
    with pytest.raises(BadData, match="cannot be reached"):
        captioner.captions(_items(tmp_path, 1))
