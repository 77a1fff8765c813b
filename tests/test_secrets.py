"""What messages, logs and summaries never hold: secrets, and commands to a terminal."""

from __future__ import annotations

import json
import logging
import pickle
import sys

import pytest

from artsound.cli import main
from artsound.cli.app import print_summary, say
from artsound.errors import BadData, redacted
from artsound.progress import _JsonLine, command_line, report_error
from artsound.reports.stats import COUNTED, print_stats


@pytest.mark.parametrize(
    "text",
    [
        "https://me:S3CRET@example.org/a.zip",
        "https://S3CRET@example.org",
        "s3://key:S3C/RET@bucket".replace("C/R", "CR"),
        "https://me:p@S3CRET@example.org/a@b",
        "http://a.example/x?X-Amz-Signature=S3CRET&x=1",
        "http://a.example/x?x=1&x-goog-credential=S3CRET",
        "http://a.example/x?sig=S3CRET#top",
        "http://a.example/x?access_token=S3CRET",
        "http://a.example/x?api_key=S3CRET&APIKEY=S3CRET",
        "postgresql://u:S3CRET@db/prefect is gone",
        "{'Authorization': 'Bearer S3CRET-S3CRET'}",
        "Authorization: Basic S3CRET",
        "authorization=S3CRET",
        "it was sent with bearer S3CRETS3CRET",
        "the token hf_S3CRETS3CRETS3CRET",
    ],
)
def test_no_secret_is_shown_or_logged(
    text: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["artsound", "build", "--fma", text])
    error = BadData(f"{text} cannot be read.")
    record = logging.makeLogRecord({"msg": text, "fields": {"place": [text]}})
    say(text)
    print_summary(True, {"target": text, "all": [text]})
    shown = [
        str(error), repr(pickle.loads(pickle.dumps(error))), command_line(),
        _JsonLine().format(record), *capsys.readouterr(),
    ]  # fmt: skip
    for one in shown:
        assert "..." in one
        assert "S3CRET" not in one
    assert json.loads(shown[3])["message"] == redacted(text)


def test_a_usage_error_with_json_leaves_nothing_behind(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = sys.stdout
    monkeypatch.setattr(sys, "argv", ["artsound", "stats", "nowhere", "--json", "--unknown"])
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 2
    monkeypatch.setattr(sys, "stdout", before)  # as the next user of this process has it
    capsys.readouterr()
    print_summary(True, {"pairs": 3})
    assert json.loads(capsys.readouterr().out) == {"pairs": 3}


def test_nothing_that_a_terminal_would_obey_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    evil = "\x1b]0;mine\x07 \x1b[2K\r\u202etxt.exe \x9b31m [red]\n\tnext"
    shown = "\\x1b]0;mine\\x07 \\x1b[2K\\r\\u202etxt.exe \\x9b31m [red]\n\tnext"
    assert str(BadData(evil)) == redacted(evil) == shown
    report_error(evil)
    assert shown in capsys.readouterr().err
    print_stats({
        "name": evil, "pairs": 1, "shards": 1, "bytes": 1, "hours": 1.0, "redistributable": 0,
        "measures": {}, "counts": {column: {evil: 1, "[/b]": 2} for column in COUNTED},
    })  # fmt: skip
    out = capsys.readouterr().out
    assert "[/b] 2" in out
    assert "\x1b" not in out


@pytest.mark.parametrize(
    "text",
    [
        "condition.tokens=8 in https://example.org/@user/a?page=2",
        "artwork_id=a.jpg, key=000010, design=x",
        "Basic principles of the bearer",
        "me@example.org and http://127.0.0.1:8432/api",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert redacted(text) == text
