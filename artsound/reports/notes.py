"""What people leave in `artsound browse` outside judging: flags, notes, and saved views.

A pair's flag and note are a JSON file of their own in notes/, so that two sites over one folder
lose nothing; views are files and folders in views/.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Collection
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from artsound.errors import ArtSoundError, BadData, BadUsage
from artsound.keys import track_key
from artsound.shards.dataset import Dataset
from artsound.storage import read_json, write_bytes
from artsound.untrusted import read_array, read_table

NOTES = "notes"
VIEWS = "views"
_MARKS = ("flagged", "noted", "any")
_LONGEST = 2000  # characters of a note
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_LISTED = 200  # views that are listed


class Notes:
    """Flags and notes of pairs.

    Args:
        folder: Contains `notes`; None: nothing can be saved.
        data: The pairs.
    """

    def __init__(self, folder: Path | None, data: Dataset) -> None:
        self._folder = folder / NOTES if folder is not None else None
        self._data = data
        self._lock = threading.Lock()
        self._notes: dict[str, dict[str, Any]] | None = None
        self.version = 0

    def of(self, key: str) -> dict[str, Any]:
        """The flag and the note of a pair."""
        found = self._all().get(key, {})
        return {"flag": bool(found.get("flag")), "note": str(found.get("note", ""))}

    def marked(self, kind: str) -> list[str]:
        """The keys of the pairs that are flagged, noted, or either."""
        if kind not in _MARKS:
            raise BadUsage(f"There is no mark {kind[:40]!r}: choose {', '.join(_MARKS)}.")
        return [
            key
            for key, one in self._all().items()
            if (one.get("flag") and kind != "noted") or (one.get("note") and kind != "flagged")
        ]

    def counts(self) -> dict[str, int]:
        """How many pairs of the release are flagged, and how many have a note."""
        return {
            kind: sum(key in self._data for key in self.marked(kind))
            for kind in ("flagged", "noted")
        }

    def save(self, key: str, *, flag: bool, note: str) -> dict[str, Any]:
        """Save the flag and the note of a pair; without either its file is removed.

        Raises:
            BadUsage: There is no such pair, the note is too long, or nothing can be saved.
        """
        if self._folder is None:
            raise BadUsage("Nothing can be saved: start `artsound browse` with --save-to.")
        if key not in self._data:
            raise BadUsage("There is no such pair.")
        note = note.strip()
        if len(note) > _LONGEST:
            raise BadUsage(f"A note has at most {_LONGEST:,} characters.")
        row = self._data.frame.row(self._data.position(key), named=True)
        value = {
            "key": key,
            "artwork_id": row["artwork_id"],
            "flag": flag,
            "note": note,
            "changed": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        path = self._folder / f"{quote(key, safe='')}.json"
        notes = self._all()
        with self._lock:
            if flag or note:
                text = json.dumps(value, ensure_ascii=False, indent=1, sort_keys=True)
                write_bytes(path, f"{text}\n".encode())
                notes[key] = value
            else:
                path.unlink(missing_ok=True)
                notes.pop(key, None)
            self.version += 1
        return self.of(key)

    def _all(self) -> dict[str, dict[str, Any]]:
        with self._lock:
            if self._notes is None:
                self._notes = {}
                there = self._folder is not None and self._folder.is_dir()
                for path in sorted(self._folder.glob("*.json")) if self._folder and there else ():
                    try:
                        value = read_json(path)
                        self._notes[str(value["key"])] = value
                    except (BadData, KeyError, TypeError):
                        continue  # not one of ours
            return self._notes


class SavedViews:
    """The views that were saved from the page.

    Args:
        folder: Contains `views`; None: none can be saved.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder / VIEWS if folder is not None else None

    def listed(self) -> list[dict[str, Any]]:
        """Their names and kinds: ids, view or shards; by name, at most 200."""
        if self._folder is None or not self._folder.is_dir():
            return []
        found: dict[str, dict[str, Any]] = {}
        for path in sorted(self._folder.iterdir()):
            kind = {".npy": "ids", ".parquet": "view"}.get(path.suffix)
            if kind is None and (path / "index.parquet").is_file():
                kind = "shards"
            if kind and _NAME.fullmatch(path.stem):
                found.setdefault(path.stem, {"name": path.stem, "kind": kind})
        return list(found.values())[:_LISTED]

    def keys(self, name: str) -> Collection[str]:
        """The keys of the pairs in a view.

        Raises:
            BadUsage: There is no such view, or its file is damaged.
        """
        path = self._path(name)
        try:
            if path.suffix == ".npy":
                return [str(key) if isinstance(key, str) else track_key(int(key))
                        for key in read_array(path).ravel().tolist()]  # fmt: skip
            table = path if path.suffix else path / "index.parquet"
            keys: list[str] = read_table(table, ["key"])["key"].to_pylist()
            return keys
        except (OSError, ValueError, ArtSoundError) as error:
            raise BadUsage(f"The view {path} cannot be read: {error}") from error

    def state(self, name: str) -> str:
        """Changes when the view does."""
        path = self._path(name)
        return f"{path.name} {path.stat().st_mtime_ns}"

    def _path(self, name: str) -> Path:
        if self._folder is not None and _NAME.fullmatch(name):
            for path in (self._folder / f"{name}.npy", self._folder / f"{name}.parquet"):
                if path.is_file():
                    return path
            if (self._folder / name / "index.parquet").is_file():
                return self._folder / name
        raise BadUsage(f"There is no saved view {name[:64]!r}.")
