"""As much of the Hugging Face Hub as its client asks for when it fetches a file."""

import hashlib
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

from evolver.weights import hub

COMMIT = "c0ffee" + "0" * 34


class Server:
    """What the server has, what it was asked, and how it misbehaves."""

    def __init__(self):
        self.files: dict[str, bytes] = {}  # "repo/name/file" -> content
        self.said_digest: dict[str, str] = {}  # another than the true one
        self.asked: list[tuple[str, str, str | None]] = []  # method, path, range
        self.break_after: int | None = None  # bytes, of the next answer alone
        self.status: int | None = None  # of every answer
        self.endpoint = ""

    def gets(self):
        """What was asked for of files, with the range; the client asks for other things too."""
        return [entry for entry in self.asked if entry[0] == "GET" and "/resolve/" in entry[1]]

    def handler(kept):  # noqa: N805  the server's self is another
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do_HEAD(self):
                self._answer(body=False)

            def do_GET(self):
                self._answer(body=True)

            def _answer(self, *, body):
                kept.asked.append((self.command, self.path, self.headers.get("Range")))
                repo, _, rest = self.path.lstrip("/").partition("/resolve/")
                revision, _, file = rest.partition("/")
                content = kept.files.get(f"{repo}/{file}")
                if kept.status is not None or content is None or revision == "absent":
                    code = "RevisionNotFound" if revision == "absent" else "EntryNotFound"
                    self.send_response(kept.status or 404)
                    if kept.status is None:
                        self.send_header("X-Error-Code", code)
                    self.send_header("X-Repo-Commit", COMMIT)
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                start = 0
                if wanted := self.headers.get("Range"):
                    start = int(wanted.removeprefix("bytes=").partition("-")[0])
                digest = kept.said_digest.get(file) or hashlib.sha256(content).hexdigest()
                self.send_response(206 if start else 200)
                if start:
                    said = f"bytes {start}-{len(content) - 1}/{len(content)}"
                    self.send_header("Content-Range", said)
                self.send_header("X-Repo-Commit", COMMIT)
                self.send_header("ETag", f'"{digest}"')
                self.send_header("X-Linked-Etag", f'"{digest}"')
                self.send_header("X-Linked-Size", str(len(content)))
                self.send_header("Accept-Ranges", "bytes")
                self.send_header("Content-Length", str(len(content) - start))
                self.end_headers()
                if not body:
                    return
                end, kept.break_after = kept.break_after, None
                self.wfile.write(content[start : None if end is None else start + end])
                if end is not None:
                    self.close_connection = True

        return Handler


@contextmanager
def serving():
    made = Server()
    server = ThreadingHTTPServer(("127.0.0.1", 0), made.handler())
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    made.endpoint = f"http://127.0.0.1:{server.server_port}"
    try:
        yield made
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def ask(monkeypatch, endpoint, folder, *, offline=False):
    """Let the client ask `endpoint`, keep files in `folder`, and not wait between attempts."""
    constants = "huggingface_hub.constants"
    template = endpoint + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(f"{constants}.ENDPOINT", endpoint)
    monkeypatch.setattr(f"{constants}.HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(f"{constants}.HF_HUB_CACHE", str(folder / "cache"))
    monkeypatch.setattr(f"{constants}.HF_HUB_OFFLINE", offline)
    monkeypatch.setattr(f"{constants}.HF_HUB_DISABLE_TELEMETRY", True)
    monkeypatch.setattr(f"{constants}.DOWNLOAD_CHUNK_SIZE", 1 << 16)
    for module in ("utils._http", "file_download"):
        clock = SimpleNamespace(sleep=lambda _: None, time=time.time, monotonic=time.monotonic)
        monkeypatch.setattr(f"huggingface_hub.{module}.time", clock, raising=False)
    monkeypatch.setattr(hub, "user_data_path", lambda name: folder / "data" / name)
