"""Looks into a store of sessions with an SQLite that is not the master's: Python's own.

    store.py PATH       the database at PATH, which nobody has open, is left as it is: a copy is read

Prints one JSON object: what the checks of SQLite say, what contradicts itself, and the sessions.
"""

import json
import os
import shutil
import sqlite3
import sys
import tempfile


def main(path):
    with tempfile.TemporaryDirectory() as directory:
        copy = os.path.join(directory, "sessions.db")
        for suffix in ["", "-wal"]:
            if os.path.exists(path + suffix):
                shutil.copy(path + suffix, copy + suffix)
        print(json.dumps(look(sqlite3.connect(copy))))


def look(db):
    def rows(sql):
        return db.execute(sql).fetchall()

    sessions = {}
    wrong = [f"integrity: {line}" for (line,) in rows("PRAGMA integrity_check") if line != "ok"]
    wrong += [f"foreign key: {line}" for line in rows("PRAGMA foreign_key_check")]
    found = "SELECT 's_' || lower(hex(id)), committed, run_owner, timer_at FROM sessions"
    for name, committed, owner, timer in rows(found):
        sessions[name] = {
            "committed": committed, "running": owner is not None, "timer": timer,
            "endings": [], "outcomes": [], "errors": [], "events": [], "keys": 0, "state": None,
        }
    own = "'s_' || lower(hex(session))"
    for name, turn in rows(f"SELECT {own}, turn FROM endings WHERE is_committed ORDER BY turn"):
        sessions[name]["endings"].append(turn)
    for name, seq, turn, data, seeded in rows(
        f"SELECT {own}, seq, turn, data, seed_turn FROM events ORDER BY session, seq"
    ):
        session = sessions[name]
        session["events"].append(seq)
        # With a seed the token and the closing brace are missing.
        kind = json.loads(data if seeded is None else data.rstrip(",") + "}")
        if kind.get("type") == "outcome" and kind.get("status") in ("finished", "parked"):
            session["outcomes"].append(turn)
        elif kind.get("type") == "error":
            session["errors"].append([turn, kind.get("code")])
    for name, count in rows(f"SELECT {own}, count(*) FROM keys GROUP BY session"):
        sessions[name]["keys"] = count
    for name, state in rows(f"SELECT {own}, state FROM states"):
        sessions[name]["state"] = json.loads(state)
    for name, session in sessions.items():
        turns = list(range(1, session["committed"] + 1))
        events = session["events"]
        if events and events != list(range(events[0], events[0] + len(events))):
            wrong.append(f"{name}: a gap in {events}")
        session["events"] = len(events)
        if session["endings"] != turns:
            wrong.append(f"{name}: committed {turns}, endings {session['endings']}")
        if session["outcomes"] != turns:
            wrong.append(f"{name}: committed {turns}, outcomes {session['outcomes']}")
    return {"wrong": wrong, "sessions": sessions, "sqlite": sqlite3.sqlite_version}


main(sys.argv[1])
