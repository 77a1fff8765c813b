"""A dataset repository on loopback that speaks the Hugging Face Hub's protocol, LFS included."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qs, unquote, urlsplit

from servers import listening

REPO = "someone/artsound"
API = f"/api/datasets/{REPO}"
LFS = f"/datasets/{REPO}.git/info/lfs/objects/batch"
RAW = re.compile(f"/datasets/{REPO}/resolve/[^/]+/(.+)")


@dataclass
class Hub:
    """`files`: what the repository holds; `commits`: the paths of each; `refuse_after` commits
    the rest is answered by 403; `damage`: the next object that arrives is kept wrong; `sent`: the
    bytes of files that were read."""

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    large: dict[str, bytes] = field(default_factory=dict)
    commits: list[list[str]] = field(default_factory=list)
    refuse_after: int = 10_000
    damage: bool = False
    private: bool = True
    exists: bool = True
    tags: dict[str, int] = field(default_factory=dict)  # the number of commits at each
    squashed: bool = False
    sent: int = 0

    def about(self, path: str) -> dict[str, object]:
        data = self.files[path]
        oid = hashlib.sha256(data).hexdigest()
        told: dict[str, object] = {"type": "file", "path": path, "size": len(data), "oid": oid[:40]}
        if oid in self.large:
            told["lfs"] = {"oid": oid, "size": len(data), "pointerSize": 134}
        return told

    def commit(self, lines: list[dict[str, dict[str, str]]]) -> None:
        paths = []
        for line in lines:
            value = line["value"]
            if str(line["key"]) == "deletedFile":
                del self.files[value["path"]]
            elif str(line["key"]) == "lfsFile":
                self.files[value["path"]] = self.large[value["oid"]]
            elif str(line["key"]) == "file":
                self.files[value["path"]] = base64.b64decode(value["content"])
            else:
                continue
            paths.append(value["path"])
        self.commits.append(paths)


@contextlib.contextmanager
def hub() -> Iterator[Hub]:
    """Serve an empty repository until the block ends."""
    state = Hub()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None: ...

        def body(self) -> bytes:
            if self.headers.get("Transfer-Encoding") != "chunked":
                return self.rfile.read(int(self.headers.get("Content-Length", 0)))
            parts = []
            while size := int(self.rfile.readline(), 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)

        def answer(self, data: object, status: int = 200, **headers: str) -> None:
            body = data if isinstance(data, bytes) else json.dumps(data).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def do_GET(self) -> None:
            path = unquote(urlsplit(self.path).path)
            named = RAW.fullmatch(path)
            if named and named[1] in state.files:
                data = state.files[named[1]]
                etag = hashlib.sha256(data).hexdigest()
                wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
                part = data[int(wanted[1]) : int(wanted[2]) + 1] if wanted else data
                state.sent += len(part) if self.command == "GET" else 0
                self.answer(part, 206 if wanted else 200, ETag=etag, X_Repo_Commit="0" * 40)
            elif path.startswith(f"{API}/tree/main"):
                self.answer([state.about(name) for name in state.files])
            elif path in (API, f"{API}/revision/main") and state.exists:
                self.answer({"id": REPO, "sha": "0" * 40, "private": state.private})
            elif path in (API, f"{API}/revision/main"):
                self.answer({"error": "not found"}, 404, X_Error_Code="RepoNotFound")
            elif path == f"{API}/refs":
                tags = [{"name": tag, "ref": f"refs/tags/{tag}", "targetCommit": "0" * 40}
                        for tag in state.tags]  # fmt: skip
                self.answer({"branches": [], "converts": [], "tags": tags})
            else:
                self.answer({"error": "not found"}, 404, X_Error_Code="EntryNotFound")

        do_HEAD = do_GET

        def do_DELETE(self) -> None:
            del state.tags[unquote(self.path).rpartition("/")[2]]
            self.answer({})

        def do_PUT(self) -> None:
            data = self.body()
            if state.damage:
                data, state.damage = b"\0" + data[1:], False
            state.large[self.path.rpartition("/")[2]] = data
            self.answer(b"")

        def do_POST(self) -> None:
            body, path = self.body(), unquote(urlsplit(self.path).path)
            if path == "/api/validate-yaml":
                self.answer({"errors": [], "warnings": []})
                return
            if path == "/api/repos/create":
                asked = json.loads(body)
                state.exists, state.private = True, asked.get("visibility") == "private"
                self.answer({"url": f"{state.url}/datasets/{REPO}"})
                return
            if path.startswith(f"{API}/tag/"):
                state.tags[json.loads(body)["tag"]] = len(state.commits)
                self.answer({})
                return
            if path == f"{API}/super-squash/main":
                state.squashed = True
                self.answer({})
                return
            if path == f"{API}/preupload/main":
                files = [
                    {
                        "path": (name := one["path"]),
                        "uploadMode": "lfs" if name.endswith((".tar", ".parquet")) else "regular",
                        "shouldIgnore": False,
                    }
                    for one in json.loads(body)["files"]
                ]
                self.answer({"files": files})
            elif path == LFS:
                objects = [
                    {**one, "actions": {"upload": {"href": f"{state.url}/large/{one['oid']}"}}}
                    for one in json.loads(body)["objects"]
                ]
                self.answer({"transfer": "basic", "objects": objects})
            elif path == f"{API}/commit/main" and len(state.commits) >= state.refuse_after:
                self.answer({"error": "too many commits"}, 403)
            elif path == f"{API}/commit/main":
                state.commit([json.loads(line) for line in body.splitlines()])
                url = f"{state.url}/datasets/{REPO}/commit/{'0' * 40}"
                self.answer({"success": True, "commitOid": "0" * 40, "commitUrl": url})
            elif path == f"{API}/paths-info/main":
                wanted = parse_qs(body.decode())["paths"]
                self.answer([state.about(name) for name in wanted if name in state.files])
            else:
                self.answer({"error": "not found"}, 404)

    with listening(Handler) as state.url:
        yield state
