import hashlib
import io
import os
import time
from urllib.parse import urlencode

from django.http import (
    FileResponse,
    HttpResponse,
    HttpResponseRedirect,
    JsonResponse,
    StreamingHttpResponse,
)
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods, require_POST, require_safe

NUMBERS = bytes(i * 7 % 256 for i in range(1024 * 1024))


def text(content):
    return HttpResponse(content, content_type="text/plain; charset=utf-8")


@require_safe
def index(request):
    return render(request, "index.html", {"title": "Hello"})


def greet(request):
    return text("Hello " + request.GET["name"])


def segment(request, name):
    return text(name)


@csrf_exempt
def form(request):
    if request.method == "POST":
        said = {"name": request.POST["name"], "colour": request.POST["colour"]}
        return HttpResponseRedirect(reverse("form") + "?" + urlencode(said), status=303)
    return text(f"{request.GET['name']} likes {request.GET['colour']}")


@csrf_exempt
@require_POST
def upload(request):
    file = request.FILES["file"]
    content = hashlib.sha256()
    for chunk in file.chunks():
        content.update(chunk)
    return JsonResponse(
        {
            "name": file.name,
            "size": file.size,
            "sha256": content.hexdigest(),
            "note": request.POST["note"],
        }
    )


@csrf_exempt
@require_POST
def echo(request):
    return HttpResponse(request.read(), content_type=request.headers.get("Content-Type"))


@csrf_exempt
@require_http_methods(["PUT", "DELETE", "PATCH"])
def method(request):
    return text(request.method)


def download(request):
    return FileResponse(io.BytesIO(NUMBERS), as_attachment=True, filename="numbers.bin")


def stream(request):
    def lines():
        for number in range(1, 6):
            if number > 1:
                time.sleep(0.1)
            yield f"line {number}\n"

    return StreamingHttpResponse(lines(), content_type="text/plain; charset=utf-8")


def events(request):
    def each():
        for number in range(1, 4):
            yield f"id: {number}\ndata: event {number}\n\n"

    return StreamingHttpResponse(each(), content_type="text/event-stream")


def cookie(request):
    response = text("two cookies")
    response.set_cookie("a", "1")
    response.set_cookie("b", "2")
    return response


def session(request):
    request.session["visits"] = request.session.get("visits", 0) + 1
    return text(str(request.session["visits"]))


def about(request):
    return JsonResponse(
        {
            "scheme": request.scheme,
            "host": request.get_host(),
            "client": request.META["REMOTE_ADDR"],
            "path": request.path,
            "query": request.META["QUERY_STRING"],
            "userAgent": request.headers["User-Agent"],
        }
    )


def error(request):
    raise RuntimeError("a mistake made on purpose")


def who(request):
    return text(str(os.getpid()))
