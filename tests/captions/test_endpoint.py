"""The chat endpoint captioner against a real HTTP server on this machine."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from caption_records import artwork, artwork_descriptors, track, track_descriptors
from chat_server import Server, always, completion
from PIL import Image
from urllib3.util import Retry

from artsound.captions.base import CHAT_PROMPTS, CaptionItem
from artsound.captions.endpoint import KEY_VARIABLE, EndpointCaptioner
from artsound.errors import BadData


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


def _captioner(server: Server, folder: Path, side: str = "artwork") -> EndpointCaptioner:
    return EndpointCaptioner(
        side,
        server.url,
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
        (401, b"", "answered 401 for 0.jpg"),
        (503, b"", "answered 503 for 0.jpg"),
        (200, b"<html>", "sent no chat completion"),
        (200, b'{"choices": []}', "sent no chat completion"),
        (200, b'"' + b"x" * (1 << 20) + b'"', "more than 1048576 bytes"),
    ],
)
def test_any_other_answer_is_one_sentence(
    server: Server, tmp_path: Path, status: int, data: bytes, sentence: str
) -> None:
    server.answer = always(status, data)
    with pytest.raises(BadData, match=sentence):
        _captioner(server, tmp_path).captions(_items(tmp_path, 1))


def test_a_content_that_is_no_text_is_no_caption(server: Server, tmp_path: Path) -> None:
    server.answer = always(200, completion(None))
    assert _captioner(server, tmp_path).captions(_items(tmp_path, 1)) == [""]


def test_a_server_that_is_not_there_is_named(server: Server, tmp_path: Path) -> None:
    captioner = _captioner(server, tmp_path)
    server.close()
    with pytest.raises(BadData, match="cannot be reached"):
        captioner.captions(_items(tmp_path, 1))
