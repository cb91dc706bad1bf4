"""A hub on this machine: folders served in the layout of the hub's HTTP interface, with every byte counted.

Writing is in tests/hub/writing.py.
"""

import hashlib
import json
import threading
from collections import Counter
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

from tests.hub.writing import TOKEN, Writing

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub(Writing):
    """Repositories by id, and what was fetched of them.

    Attributes:
        url: for HF_ENDPOINT.
        fetched: `OWNER/REPO/FILE` -> bytes that left the server.
        gated: ids that ask for a token.
        private: ids that only a request with the token sees.
    """

    def __init__(self, url, root):
        super().__init__(root)
        self.url, self.folders, self.fetched, self.gated, self.private = url, {}, Counter(), set(), set()

    def publish(self, repository, folder):
        self.folders[repository] = Path(folder)

    def answer(self, path, token=None):
        """(status, headers, body) of a request; the body is None for an error."""
        repository = "/".join(unquote(urlsplit(path).path).removeprefix("/api/models").strip("/").split("/")[:2])
        if repository in self.private and token != TOKEN:
            return 401, {"X-Error-Code": "RepoNotFound"}, None
        parts = unquote(urlsplit(path).path).strip("/").split("/")
        if parts[:2] == ["api", "models"]:
            return self._listing("/".join(parts[2:4]), parts[5] if len(parts) > 5 else "main")
        if parts[2:3] != ["resolve"]:  # what the client asks about itself
            return 404, {}, None
        return self._file("/".join(parts[:2]), parts[3], "/".join(parts[4:]))

    def _listing(self, repository, revision):
        if refused := self._refusal(repository, revision):
            return refused
        folder = self.folders[repository]
        names = sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file())
        siblings = [{"rfilename": name} for name in names]
        private = repository in self.private
        sha = self.commits.get(repository, COMMIT)
        body = {"_id": "0", "id": repository, "sha": sha, "private": private, "siblings": siblings}
        return 200, {"Content-Type": "application/json"}, json.dumps(body).encode()

    def _file(self, repository, revision, name):
        if refused := self._refusal(repository, revision):
            return refused
        file = self.folders[repository] / name
        if not file.is_file():
            return 404, {"X-Error-Code": "EntryNotFound"}, None
        content = file.read_bytes()
        tag = hashlib.sha256(content).hexdigest()
        return (
            200,
            {"X-Repo-Commit": self.commits.get(repository, COMMIT), "ETag": f'"{tag}"', "Accept-Ranges": "bytes"},
            content,
        )

    def _refusal(self, repository, revision):
        if repository not in self.folders:
            return 404, {"X-Error-Code": "RepoNotFound"}, None
        if repository in self.gated:
            return 403, {"X-Error-Code": "GatedRepo"}, None
        return (
            None
            if revision in ("main", self.commits.get(repository, COMMIT))
            else (404, {"X-Error-Code": "RevisionNotFound"}, None)
        )


@contextmanager
def running(root):
    """A hub on a free port of this machine, until the block ends; new repositories lie below `root`."""

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self):
            self._send(with_body=False)

        def do_GET(self):
            self._send(with_body=True)

        def do_POST(self):
            self._write("POST")

        def do_PUT(self):
            self._write("PUT")

        def _token(self):
            return self.headers.get("Authorization", "").removeprefix("Bearer ")

        def _write(self, method):
            content = self._body()
            self._reply(*hub.write(method, self.path, content, self._token()), with_body=True)

        def _body(self):
            """The body of a request: of a known length, or in chunks that each begin with theirs."""
            if self.headers.get("Transfer-Encoding") != "chunked":
                return self.rfile.read(int(self.headers.get("Content-Length", 0)))
            chunks = []
            while size := int(self.rfile.readline(), 16):
                chunks.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(chunks)

        def _send(self, *, with_body):
            self._reply(*hub.answer(self.path, self._token()), with_body=with_body)

        def _reply(self, status, headers, body, *, with_body):
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body or b"")))
            self.end_headers()
            if with_body and body:
                if "/resolve/" in self.path:
                    owner, name, _, _, *file = unquote(urlsplit(self.path).path).strip("/").split("/")
                    hub.fetched["/".join([owner, name, *file])] += len(body)
                self.wfile.write(body)

        def log_message(self, *arguments):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub = Hub(f"http://127.0.0.1:{server.server_port}", root)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
