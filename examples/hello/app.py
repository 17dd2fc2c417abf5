"""A page, a readiness check, and nothing to install."""

import html
import os

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Hello from rip-master</title>
<style>
  body {{ font: 18px/1.5 system-ui, sans-serif; max-width: 34rem; margin: 15vh auto; padding: 0 1rem }}
  code {{ background: #8882; padding: .1em .3em; border-radius: .2em }}
</style>
<h1>Hello, {visitor}.</h1>
<p>Worker <code>w{worker}</code> of app <code>{app}</code> (process <code>{pid}</code>) made this page
for <code>{path}</code>.</p>
<p>Reload it, and see it again; kill that process, and see another.</p>
</html>
"""


def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/ready":
        return respond(start_response, "200 OK", "text/plain", "ready\n")
    if path != "/":
        return respond(start_response, "404 Not Found", "text/plain", "There is only one page here: /\n")
    page = PAGE.format(
        visitor=html.escape(environ["REMOTE_ADDR"]),
        worker=html.escape(os.environ.get("RIP_WORKER_ID", "?")),
        app=html.escape(os.environ.get("RIP_APP_ID", "?")),
        pid=os.getpid(),
        path=html.escape(path),
    )
    return respond(start_response, "200 OK", "text/html", page)


def respond(start_response, status, media_type, text):
    body = text.encode()
    start_response(
        status,
        [("Content-Type", media_type + "; charset=utf-8"), ("Content-Length", str(len(body)))],
    )
    return [body]
