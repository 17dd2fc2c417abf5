from flask import Flask, redirect, render_template_string, request, session, url_for

app = Flask(__name__)
app.secret_key = "change me"

PAGE = """<!doctype html>
<title>Flask</title>
<h1>Hello, {{ name }}</h1>
<p>You were here {{ visits }} times.</p>
<form method="post"><input name="name"><button>That is me</button></form>
"""


@app.get("/")
def index():
    session["visits"] = session.get("visits", 0) + 1
    name = session.get("name", "whoever you are")
    return render_template_string(PAGE, name=name, visits=session["visits"])


@app.post("/")
def name():
    session["name"] = request.form["name"]
    return redirect(url_for("index"), 303)
