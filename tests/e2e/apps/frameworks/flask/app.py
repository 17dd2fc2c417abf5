import hashlib
import io
import os
import time

from flask import Flask, Response, jsonify, redirect, request, send_file, session, url_for

app = Flask(__name__)
app.secret_key = "not a secret"

NUMBERS = bytes(i * 7 % 256 for i in range(1024 * 1024))


def text(content):
    return Response(content, mimetype="text/plain")


@app.get("/")
def index():
    return "<!doctype html><title>Hello</title><h1>Hello</h1>"


@app.get("/greet")
def greet():
    return text("Hello " + request.args["name"])


@app.get("/path/<name>/x")
def path(name):
    return text(name)


@app.route("/form", methods=["GET", "POST"])
def form():
    if request.method == "GET":
        return text("%(name)s likes %(colour)s" % request.args)
    said = request.form
    return redirect(url_for("form", name=said["name"], colour=said["colour"]), 303)


@app.post("/upload")
def upload():
    file = request.files["file"]
    content = file.read()
    return jsonify(
        name=file.filename,
        size=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        note=request.form["note"],
    )


@app.post("/echo")
def echo():
    return Response(request.get_data(), content_type=request.content_type)


@app.route("/method", methods=["PUT", "DELETE", "PATCH"])
def method():
    return text(request.method)


@app.get("/download")
def download():
    return send_file(
        io.BytesIO(NUMBERS), as_attachment=True, download_name="numbers.bin", etag="numbers"
    )


@app.get("/stream")
def stream():
    def lines():
        for number in range(1, 6):
            if number > 1:
                time.sleep(0.1)
            yield f"line {number}\n"

    return text(lines())


@app.get("/events")
def events():
    def each():
        for number in range(1, 4):
            yield f"id: {number}\ndata: event {number}\n\n"

    return Response(each(), mimetype="text/event-stream")


@app.get("/cookie")
def cookie():
    response = text("two cookies")
    response.set_cookie("a", "1")
    response.set_cookie("b", "2")
    return response


@app.get("/session")
def visits():
    session["visits"] = session.get("visits", 0) + 1
    return text(str(session["visits"]))


@app.get("/about")
def about():
    return jsonify(
        scheme=request.scheme,
        host=request.host,
        client=request.remote_addr,
        path=request.path,
        query=request.query_string.decode(),
        userAgent=request.user_agent.string,
    )


@app.get("/error")
def error():
    raise RuntimeError("a mistake made on purpose")


@app.get("/who")
def who():
    return text(str(os.getpid()))
