"""The same turns by an app that keeps its sessions itself, as one would write it at first: one
transaction a turn, synced. It claims nothing before the turn, so it could neither stream nor refuse a
second request while one runs; nobody can read its events while they happen."""

import hashlib
import json
import os
import secrets
import sqlite3

PIECES = ["a ", "b ", "c"]
STORE = sqlite3.connect(os.environ["TURNS_STORE"], timeout=20, isolation_level=None)
STORE.executescript("""
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = FULL;
    CREATE TABLE IF NOT EXISTS sessions(
        id TEXT PRIMARY KEY, token BLOB, turn INT, state TEXT, outcome TEXT) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS events(
        session TEXT, seq INT, data TEXT, PRIMARY KEY(session, seq)) WITHOUT ROWID;
""")


def application(environ, start_response):
    path = environ["PATH_INFO"].split("/")
    if path[1:3] != ["v1", "session"]:
        return answer(start_response, "200 OK", {})
    body = json.loads(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))
    del body
    shown, token = environ.get("HTTP_X_CONTINUATION_TOKEN", ""), "ct_" + secrets.token_urlsafe(32)
    session = path[3] if len(path) > 3 else "s_" + secrets.token_hex(16)
    STORE.execute("BEGIN IMMEDIATE")
    try:
        row = STORE.execute("SELECT token, turn, state FROM sessions WHERE id = ?", [session])
        known, turn, state = row.fetchone() or (None, 0, '{"turns":0}')
        if len(path) > 3 and known != digest(shown):
            STORE.execute("ROLLBACK")
            return answer(start_response, "409 Conflict", {"error": "stale"})
        turn, state = turn + 1, json.loads(state)
        state["turns"] += 1
        output = {"text": "".join(PIECES), **state}
        told = {"sessionId": session, "status": "finished", "output": output}
        for at, piece in enumerate(PIECES):
            STORE.execute("INSERT INTO events VALUES (?, ?, ?)",
                          [session, turn * 4 + at, json.dumps({"type": "delta", "text": piece})])
        STORE.execute("INSERT INTO events VALUES (?, ?, ?)",
                      [session, turn * 4 + 3, json.dumps({"type": "outcome", **told})])
        STORE.execute("INSERT OR REPLACE INTO sessions VALUES (?, ?, ?, ?, ?)",
                      [session, digest(token), turn, json.dumps(state), json.dumps(told)])
        STORE.execute("COMMIT")
    except sqlite3.Error:
        STORE.execute("ROLLBACK")
        raise
    return answer(start_response, "200 OK", {**told, "continuationToken": token})


def digest(token):
    return hashlib.sha256(token.encode()).digest()


def answer(start_response, status, value):
    body = json.dumps(value, separators=(",", ":")).encode()
    start_response(status, [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]
