from django.urls import path

from . import views

urlpatterns = [
    path("", views.index),
    path("greet", views.greet),
    path("path/<str:name>/x", views.segment),
    path("form", views.form, name="form"),
    path("upload", views.upload),
    path("echo", views.echo),
    path("method", views.method),
    path("download", views.download),
    path("stream", views.stream),
    path("events", views.events),
    path("cookie", views.cookie),
    path("session", views.session),
    path("about", views.about),
    path("error", views.error),
    path("who", views.who),
]
