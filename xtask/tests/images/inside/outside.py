"""What a workspace talks to, on the loopback interface that it shares with this container: a git server with a private
repository, GitHub's API for runners (written from its documentation, as an Enterprise Server answers), and a Coder server.
`/double/...` is for the runner's double and for the tests."""

import base64
import http.server
import json
import os
import subprocess
import threading

PAT, CLONE, REGISTRATION = os.environ["PAT"], os.environ["CLONE"], os.environ["REGISTRATION"]
ROOT = "/srv/git"
LIST = "/api/v3/repos/o/r/actions/runners"
lock, runners, events, last = threading.Lock(), {}, [], [100]


def make_repository():
    """`o/private.git` with one commit."""
    work = "/srv/work"
    for command in [
        ["git", "init", "-q", "-b", "main", work],
        ["git", "-C", work, "-c", "user.name=o", "-c", "user.email=o@o", "commit", "-q", "--allow-empty", "-m", "first"],
        ["git", "clone", "-q", "--bare", work, f"{ROOT}/o/private.git"],
    ]:
        subprocess.run(command, check=True)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, content=None, headers=()):
        body = content if isinstance(content, bytes) else b"" if content is None else json.dumps(content).encode()
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path, _, query = self.path.partition("?")
        with lock:
            events.append(f"{self.command} {path}")
        if path.startswith("/git/"):
            self.git(path.removeprefix("/git"), query, body)
        elif path.startswith("/api/v3/"):
            self.api(path)
        elif path.startswith("/double/"):
            self.double(path.removeprefix("/double/").split("/"), body)
        elif path.startswith("/bin/coder-linux-"):
            # A program of this machine's that says to be Coder's; told to be the `agent`, it runs the script of that name.
            agent = open("/usr/bin/python3", "rb").read().replace(b"Python %s\n", b"Coder  %s\n")
            self.answer(200, agent, [("Content-Type", "application/octet-stream")])
        else:
            self.answer(404, {"message": "Not Found"})

    do_GET = do_POST = do_DELETE = do

    def git(self, path, query, body):
        word, _, text = (self.headers.get("Authorization") or "").partition(" ")
        if word != "Basic" or base64.b64decode(text).decode().partition(":")[2] != CLONE:
            return self.answer(401, b"", [("WWW-Authenticate", 'Basic realm="git"')])
        environment = {
            "PATH": os.environ["PATH"],
            "GIT_PROJECT_ROOT": ROOT,
            "GIT_HTTP_EXPORT_ALL": "1",
            "REQUEST_METHOD": self.command,
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "CONTENT_TYPE": self.headers.get("Content-Type") or "",
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding") or "",
            "GIT_PROTOCOL": self.headers.get("Git-Protocol") or "",
        }
        done = subprocess.run(["git", "http-backend"], input=body, env=environment, stdout=subprocess.PIPE)
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        headers = [tuple(line.split(": ", 1)) for line in head.decode().split("\r\n")]
        status = next((int(value.split()[0]) for name, value in headers if name == "Status"), 200)
        self.answer(status, content, [(name, value) for name, value in headers if name != "Status"])

    def api(self, path):
        # An App shows a token that it has signed: three parts.
        signed = (self.headers.get("Authorization") or "").count(".") == 2
        if signed and path == "/api/v3/repos/o/r/installation":
            return self.answer(200, {"id": 7})
        if signed and path == "/api/v3/app/installations/7/access_tokens":
            return self.answer(201, {"token": PAT, "expires_at": "2100-01-01T00:00:00Z"})
        if self.headers.get("Authorization") != f"Bearer {PAT}":
            return self.answer(401, {"message": "Bad credentials"})
        identity = int(path.rsplit("/", 1)[1]) if path.startswith(f"{LIST}/") and path.rsplit("/", 1)[1].isdigit() else None
        with lock:
            found = runners.get(identity)
            match self.command, path:
                case "GET", "/api/v3/repos/o/r":
                    self.answer(200, {"id": 1, "full_name": "o/r", "private": True})
                case "POST", p if p == f"{LIST}/registration-token":
                    self.answer(201, {"token": REGISTRATION, "expires_at": "2100-01-01T00:00:00Z"})
                case "GET", p if p == LIST:
                    self.answer(200, {"total_count": len(runners), "runners": list(runners.values())})
                case _ if found is None:
                    self.answer(404, {"message": "Not Found"})
                case "GET", _:
                    self.answer(200, found)
                case "DELETE", _ if found["busy"]:
                    self.answer(422, {"message": f"Runner {found['name']} is currently running a job and cannot be deleted."})
                case "DELETE", _:
                    del runners[identity]
                    self.answer(204)
                case _:
                    self.answer(404, {"message": "Not Found"})

    def double(self, words, body):
        with lock:
            match words:
                case ["events"]:
                    self.answer(200, events)
                case ["runners"]:
                    self.answer(200, list(runners.values()))
                case ["register", name] if body.decode() == REGISTRATION:
                    if any(runner["name"] == name for runner in runners.values()):
                        return self.answer(409, {"message": "A runner exists with the same name"})
                    last[0] += 1
                    runners[last[0]] = {"id": last[0], "name": name, "os": "linux", "status": "offline", "busy": False, "labels": []}
                    self.answer(200, runners[last[0]])
                case ["remove", identity] if body.decode() == REGISTRATION and int(identity) in runners:
                    del runners[int(identity)]
                    self.answer(200, {})
                case ["become", identity, status, busy] if int(identity) in runners:
                    runners[int(identity)] |= {"status": status, "busy": busy == "busy"}
                    self.answer(200, {})
                case _:
                    self.answer(403, {"message": "no"})


make_repository()
http.server.ThreadingHTTPServer(("127.0.0.1", 8000), Handler).serve_forever()
