"""Our hub of WebSocket clients: one group."""

import os

import ours
from contestant import SERVER_CPU, Contestant, answers, free_port, start, wait_for, write


def ours_hub(directory, _running):
    """What one client says is POSTed to a native worker, whose answer tells them all."""
    return serve(directory)


def serve(directory, max_connections=None):
    place = 'realtime "/realtime" app="hub" rate=1000000 burst=1000000'
    port = free_port()
    home = os.path.join(directory, "hub")
    os.makedirs(home, exist_ok=True)
    write(home, "Edgefile", f"""version 1
edge {{ http "127.0.0.1:{port}" }}
app "hub" {{ entry "builtin:realtime"; workers 1 }}
site "*" {{ {place}; route "/*" {{ to-app "hub" }} }}
""")
    more = ["--max-connections", str(max_connections)] if max_connections else []
    process = start(directory, "hub", [
        ours.RIP, "start", home, "--name", "hub", "--no-watch", "--loops", "1", "--no-access-log", *more,
    ], frozenset({SERVER_CPU}), XDG_RUNTIME_DIR=ours.runtime(directory))
    wait_for(lambda: answers(port, "/status"), ours.NAME)
    return Contestant(ours.NAME, port, [process])
