"""A small hub on this machine: real HTTP, the few requests that its client makes for a model."""

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

MAIN = "a" * 40


class Hub:
    """`repos[id][commit]` is a folder; `gated` ids are refused; `cut` files are truncated."""

    def __init__(self) -> None:
        self.repos: dict[str, dict[str, Path]] = {}
        self.gated: set[str] = set()
        self.cut: set[str] = set()
        self.flipped: set[str] = set()
        self.served: list[str] = []
        self.url = ""

    def add(self, hub_id: str, folder: Path, commit: str = MAIN) -> None:
        self.repos.setdefault(hub_id, {})[commit] = folder


@contextmanager
def serving() -> Iterator[Hub]:
    hub = Hub()

    class Handler(_Handler):
        known = hub

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    known: Hub

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, body: bool) -> None:
        path = self.path.partition("?")[0]
        if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/(revision|tree)/(.+))?", path):
            hub_id, what, revision = found.groups()
        elif found := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            (hub_id, revision, name), what = found.groups(), "resolve"
        else:
            return self._refuse(404, "EntryNotFound")
        if hub_id not in self.known.repos:
            return self._refuse(401, "RepoNotFound")
        if hub_id in self.known.gated:
            return self._refuse(403, "GatedRepo")
        commit = MAIN if revision in (None, "main") else revision
        folder = self.known.repos[hub_id].get(commit)
        if folder is None:
            return self._refuse(404, "RevisionNotFound")
        if what == "resolve":
            return self._file(folder / name, commit, body)
        files = [_file(path) for path in sorted(folder.iterdir())]
        if what == "tree":
            return self._json(
                [
                    {**file, "type": "file", "path": file["rfilename"], "oid": file["blobId"]}
                    for file in files
                ]
            )
        return self._json({"id": hub_id, "sha": commit, "siblings": files})

    def _file(self, path: Path, commit: str, body: bool) -> None:
        content = path.read_bytes()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.send_header("X-Repo-Commit", commit)
        self.end_headers()
        if body:
            self.known.served.append(path.name)
            if path.name in self.known.flipped:
                content = content[:-1] + bytes([content[-1] ^ 1])
            self.wfile.write(
                content[: len(content) // 2] if path.name in self.known.cut else content
            )

    def _json(self, value: object) -> None:
        content = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _refuse(self, status: int, code: str) -> None:
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("X-Error-Message", code)
        self.send_header("Content-Length", "0")
        self.end_headers()


def _file(path: Path) -> dict[str, object]:
    content = path.read_bytes()
    large = {
        "sha256": hashlib.sha256(content).hexdigest(),
        "size": len(content),
        "pointerSize": 130,
    }
    blob = hashlib.sha1(content).hexdigest()
    heavy = (
        {"lfs": {**large, "oid": large["sha256"]}}
        if path.suffix in (".safetensors", ".bin")
        else {}
    )
    return {"rfilename": path.name, "size": len(content), "blobId": blob, **heavy}
