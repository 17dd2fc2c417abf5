"""httpx as a client of sessions: streams a turn, goes on with it, and reads it again. Says `fine`.

    session_httpx.py BASE
"""

import json
import sys

import httpx

STREAM = {"Accept": "text/event-stream"}


def events(response):
    """The events of a stream, with their ids."""
    found, own = [], None
    for line in response.iter_lines():
        name, _, value = line.partition(": ")
        if name == "id":
            own = value
        elif name == "data":
            found.append((own, json.loads(value)))
    return found


def main():
    with httpx.Client(base_url=sys.argv[1], timeout=30, trust_env=False) as client:
        plan = {"steps": ["Hel", "lo ", "ünïcödé 😀\u2028"]}
        with client.stream("POST", "/v1/session", json=plan, headers=STREAM) as response:
            assert response.status_code == 200, response.status_code
            assert response.headers["content-type"] == "text/event-stream", response.headers
            heard = events(response)
        texts = [event["text"] for _, event in heard if event["type"] == "delta"]
        assert texts == plan["steps"], texts
        outcome = heard[-1][1]
        assert outcome["type"] == "outcome" and outcome["status"] == "finished", outcome
        assert outcome["output"]["input"] == plan, outcome

        session, token = outcome["sessionId"], outcome["continuationToken"]
        path = f"/v1/session/{session}"
        answer = client.post(f"{path}/message", json={"n": 2, "continuationToken": token})
        assert answer.status_code == 200 and answer.json()["output"]["turn"] == 2, answer.text
        again = client.post(f"{path}/message", json={"n": 3, "continuationToken": token})
        assert again.status_code == 409 and again.json()["code"] == "stale-token", again.text

        # What is read again is the same, to the byte.
        resume = {**STREAM, "Rip-Resume-Token": response.headers["rip-resume-token"]}
        for at, (own, _) in enumerate(heard[:-1]):
            fields = {**resume, "Last-Event-ID": own}
            with client.stream("GET", f"{path}/events?turn=1", headers=fields) as rest:
                assert events(rest) == heard[at + 1:], own
    print("fine")


main()
