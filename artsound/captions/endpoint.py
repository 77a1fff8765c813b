"""Captions from a server with the OpenAI chat interface (vLLM, llama.cpp, a hosted one).

Every answer is cached in a file named by the digest of its whole request (URL, model, prompt,
settings, and the picture's or sound's digest), so that a request is sent once even if a build is
resumed or repeated. A key for the server is read from the environment variable
ARTSOUND_ENDPOINT_KEY and not stored.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from artsound.captions.base import (
    CHAT_PROMPTS,
    Captioner,
    CaptionerPlugin,
    CaptionItem,
    CaptionSettings,
)
from artsound.errors import BadData, BadUsage
from artsound.media.images import release_jpeg
from artsound.read_ahead import ordered_ahead
from artsound.sources.http import BUSY, FAULTS, Patience, read_body, reason
from artsound.storage import digest, read_json, write_json
from artsound.untrusted import parse_json

KEY_VARIABLE = "ARTSOUND_ENDPOINT_KEY"
TIMEOUT = (10.0, 300.0)  # seconds to connect, seconds without a byte
MAX_SIDE = 768
LARGEST_ANSWER = 1 << 20
_ANSWER = Patience(stall=30.0, body=120.0)  # an answer comes at once when it is complete
REFUSALS = (400, 413, 415, 422)
MOST_REFUSED = 8  # refusals before any answer, from which on the fault is not in the items
# POST is retried, too: requesting a caption twice is harmless.
_RETRY = (
    Patience(retries=5)
    .retry()
    .new(status_forcelist=BUSY, allowed_methods=None, raise_on_status=False)
)


class EndpointCaptioner:
    """Requests descriptions from `url` (such as https://…/v1), several at once.

    If the server refuses one item (HTTP 400, 413, 415, 422), that item has no text; if it refuses
    the first eight, or fails in any other way, BadData is raised. Answers received until then are
    cached; refusals are not, since another setting of the server may end them.
    """

    def __init__(
        self,
        side: str,
        url: str,
        model: str,
        *,
        prompt: str,
        max_new_tokens: int,
        requests_at_once: int,
        responses: Path,
        retry: Retry = _RETRY,
    ) -> None:
        self.url = url.rstrip("/") + "/chat/completions"
        self.name = f"endpoint:{url}"
        self.version = model
        self.prompt = prompt or CHAT_PROMPTS[side]
        self.settings: Mapping[str, Any] = {
            "max_tokens": max_new_tokens,
            "temperature": 0,
            "seed": 0,
        }
        self._requests_at_once = requests_at_once
        self._responses = responses
        self._retry = retry
        self._refused, self._answered = 0, False

    def captions(self, items: Sequence[CaptionItem]) -> list[str]:
        """The server's text for each item; cached answers are not requested again."""
        with requests.Session() as session:
            session.headers["Accept-Encoding"] = "identity"
            adapter = HTTPAdapter(max_retries=self._retry, pool_maxsize=self._requests_at_once)
            session.mount("http://", adapter)
            session.mount("https://", adapter)
            if key := os.environ.get(KEY_VARIABLE):
                session.headers["Authorization"] = f"Bearer {key}"
            ask = partial(self._caption, session)
            with ThreadPoolExecutor(self._requests_at_once) as pool:
                return list(ordered_ahead(pool, ask, items, 2 * self._requests_at_once))

    def _caption(self, session: requests.Session, item: CaptionItem) -> str:
        request = digest(
            {
                "url": self.url,
                "model": self.version,
                "prompt": self.prompt,
                "settings": dict(self.settings),
                "media": item.media_sha256,
            }
        )
        cached = self._responses / request[:2] / f"{request}.json"
        if cached.is_file():
            return str(read_json(cached)["text"])
        text = self._ask(session, item)
        if text is None:
            return ""
        write_json(cached, {"text": text, "model": self.version, "media": item.media_sha256})
        return text

    def _ask(self, session: requests.Session, item: CaptionItem) -> str | None:
        """The server's text; None if it refuses this item."""
        body = {
            "model": self.version,
            "messages": [{"role": "user", "content": [_media_part(item), _text_part(self.prompt)]}],
            **self.settings,
        }
        try:
            with session.post(self.url, json=body, timeout=TIMEOUT, stream=True) as response:
                status = response.status_code
                content = b"".join(read_body(response, LARGEST_ANSWER + 1, _ANSWER))
        except FAULTS as error:
            raise BadData(
                f"{self.url} cannot be reached, or its answer breaks off ({reason(error)}): "
                "start the server, or correct the recipe, and run it again."
            ) from error
        if status == 200:
            text = _text(content, self.url)
            self._answered = True
            return text
        answer = f"{self.url} answered {status} for {item.item_id}{_stated(content)}"
        if status not in REFUSALS:
            raise BadData(
                f"{answer}: check the address, the model and {KEY_VARIABLE}, and run it again."
            )
        self._refused += 1
        if self._refused >= MOST_REFUSED and not self._answered:
            raise BadData(
                f"{answer}, as for the {MOST_REFUSED - 1} items before: check that the model is "
                f"one for {_MEDIA[item.side]}, and the server's limits, and run it again."
            )
        return None


_MEDIA = {"artwork": "pictures", "track": "sound"}


def _text_part(prompt: str) -> dict[str, Any]:
    return {"type": "text", "text": prompt}


def _media_part(item: CaptionItem) -> dict[str, Any]:
    data = item.media.read_bytes()
    if item.side == "artwork":
        jpeg = release_jpeg(data, max_side=MAX_SIDE, quality=90)
        url = f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"
        return {"type": "image_url", "image_url": {"url": url}}
    sound = {"data": base64.b64encode(data).decode(), "format": item.media.suffix.lstrip(".")}
    return {"type": "input_audio", "input_audio": sound}


def _text(content: bytes, url: str) -> str:
    if len(content) > LARGEST_ANSWER:
        raise BadData(
            f"{url} sent an answer of more than {LARGEST_ANSWER} bytes: is it a chat server?"
        )
    if stated := _stated(content):
        raise BadData(f"{url} answered with an error{stated}: look at the server's log.")
    try:
        text = parse_json(content)["choices"][0]["message"]["content"]
    except (ValueError, LookupError, TypeError) as error:
        start = " ".join(content[:60].decode(errors="replace").split())
        raise BadData(
            f"{url} sent no chat completion, but {start!r}: is it an OpenAI-compatible server?"
        ) from error
    if isinstance(text, list):  # of parts, as for a prompt
        parts = [part.get("text") for part in text if isinstance(part, dict)]
        text = "".join(part for part in parts if isinstance(part, str))
    # Half of a pair of surrogates is valid in JSON and in no file.
    return text.encode(errors="ignore").decode() if isinstance(text, str) else ""


def _stated(content: bytes) -> str:
    """What the error in an answer says, in brackets; "" if there is none."""
    try:
        value = parse_json(content)
    except ValueError:
        return ""
    fault = value.get("error") or value.get("detail") if isinstance(value, dict) else None
    if isinstance(fault, dict):
        fault = fault.get("message")
    if not isinstance(fault, str):
        return ""
    key = os.environ.get(KEY_VARIABLE)
    said = fault.replace(key, "…") if key else fault
    printable = "".join(char if char.isprintable() else " " for char in said)
    return f" ({' '.join(printable.split())[:200]})"


class EndpointPlugin(CaptionerPlugin):
    """A server with the OpenAI chat interface, such as vLLM: endpoint:URL#MODEL."""

    name = "endpoint"
    version = "1"

    def open(
        self, side: str, argument: str, settings: CaptionSettings, responses: Path
    ) -> Captioner:
        """The captioner of the model MODEL at the server URL."""
        if not argument.startswith(("http://", "https://")):
            raise BadUsage(
                f"captions.{side}s = {f'endpoint:{argument}'!r} names no server: write "
                "endpoint:URL#MODEL with an http or https URL."
            )
        url, _, model = argument.partition("#")
        return EndpointCaptioner(
            side,
            url,
            model,
            prompt=settings.prompt,
            max_new_tokens=settings.max_new_tokens,
            requests_at_once=settings.requests_at_once,
            responses=responses,
        )
