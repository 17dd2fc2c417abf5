"""The server that is soaked: an Edgefile of everything, written anew for each reload."""

import os
import subprocess

import contestant
import material
from ours import RIP

# As many routes as a round has of its own: what a reload makes and lets go.
ROUTES = 50
APPS = ["native", "python", "hub", "turns"]
OVERTAKEN = "another configuration has taken the app's workers out of service"
HELLO = """
def application(environ, start_response):
    length = int(environ.get("CONTENT_LENGTH") or 0)
    left = length
    while left:
        left -= len(environ["wsgi.input"].read(min(left, 65536)))
    body = b"Hello, world!" if environ["REQUEST_METHOD"] == "GET" else str(length).encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
"""


class Server:
    """A running master on ports of its own."""

    def __init__(self, directory, **environment):
        self.directory = directory
        self.http, self.https = contestant.free_port(), contestant.free_port()
        self.certificate, self.key = material.certificate_pair(directory)
        self.files = material.site(directory)
        contestant.write(directory, "hello.py", HELLO)
        self.runtime = os.path.join(directory, "run")
        os.makedirs(self.runtime, mode=0o700)
        self.write(0)
        self.process = contestant.start(
            directory, "rip-master",
            [RIP, "start", directory, "--name", "soak", "--no-watch", "--no-redirect-http"],
            contestant.EVERY_CPU, XDG_RUNTIME_DIR=self.runtime, **environment)
        self.pid = self.process.pid
        contestant.wait_for(lambda: contestant.answers(self.http, "/status"), "rip-master")

    def write(self, number):
        """Other routes each time; and each third time two apps are others, too, and get other processes."""
        others = "\n".join(
            f'    route "/round-{number}/{at}/*" {{ headers {{ response {{ set X-Round="{number}" }} }}; '
            f'to-app "native" }}' for at in range(ROUTES))
        contestant.write(self.directory, "Edgefile", f"""version 1
edge {{
    http "127.0.0.1:{self.http}"
    https "127.0.0.1:{self.https}"
    store "{self.directory}/sessions.db"
    log access=#false
}}
app "native" {{ entry "builtin:hello"; workers 2; concurrency 16; env ROUND="{number // 3}" }}
app "python" {{ entry "hello.py"; workers 2; env ROUND="{number // 3}" }}
app "hub" {{ entry "builtin:realtime"; workers 1 }}
app "turns" {{ entry "builtin:turn"; workers 1; concurrency 16 }}
site "*" {{
    tls cert="{self.certificate}" key="{self.key}"
    realtime "/realtime" app="hub" rate=1000000 burst=1000000
    sessions "/v1" app="turns"
    route "/python/*" {{ to-app "python" }}
    route "/files/*" {{ static "{self.files}" }}
    route "/*" {{ to-app "native" }}
{others}
}}
""")

    def reload(self, count):
        self.write(count + 1)
        return self.order("reload")

    def roll(self, _count):
        return "; ".join(filter(None, (self.rolled(app) for app in APPS)))

    def rolled(self, app):
        """A reload that gives the app other workers ends a roll of the ones before: then once more."""
        said = self.order("restart", app)
        return self.order("restart", app) if said and OVERTAKEN in said else said

    def order(self, *words):
        """What went wrong, or nothing."""
        done = subprocess.run(
            [RIP, *words, "--name", "soak", "--timeout", "60"], check=False, capture_output=True,
            text=True, env={**os.environ, "XDG_RUNTIME_DIR": self.runtime})
        return None if done.returncode == 0 else f"{' '.join(words)}: {(done.stderr or done.stdout).strip()}"

    def stop(self):
        """The master's exit code; -9 when it had to be killed."""
        self.process.terminate()
        try:
            return self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()

    def last_words(self):
        with open(os.path.join(self.directory, "rip-master.log"), encoding="utf-8", errors="replace") as file:
            return file.read()[-500:]
