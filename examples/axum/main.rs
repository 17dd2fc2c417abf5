//! A server that knows nothing of rip-master: axum, on the socket it inherits.
//!
//! ```text
//! cargo build --release -p rip-worker --example axum
//! rip-master start . 8080 c:100 -- target/release/examples/axum
//! ```
//!
//! All that makes it a worker is in [`main`]: the listener is descriptor 3, as in systemd's socket
//! activation, and SIGTERM ends it gracefully. The rest is what any axum app is made of, one of each.

use axum::body::{Body, Bytes};
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::extract::{DefaultBodyLimit, Multipart, OriginalUri, Path, Query};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::sse::{Event, Sse};
use axum::response::{AppendHeaders, Html, IntoResponse, Redirect, Response};
use axum::routing::{any, get, post, put};
use axum::{Form, Json, Router};
use futures_util::stream;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::convert::Infallible;
use std::os::fd::FromRawFd;
use std::time::Duration;
use tokio::net::UnixListener;
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main]
async fn main() -> std::io::Result<()> {
    if std::env::var_os("LISTEN_FDS").is_none_or(|count| count != "1") {
        return Err(std::io::Error::other("no listener was inherited: start it with rip-master"));
    }
    // SAFETY: descriptor 3 is the listener (LISTEN_FDS), and nothing else has taken it.
    let listener = unsafe { std::os::unix::net::UnixListener::from_raw_fd(3) };
    listener.set_nonblocking(true)?;
    let mut term = signal(SignalKind::terminate())?;
    axum::serve(UnixListener::from_std(listener)?, app())
        .with_graceful_shutdown(async move {
            term.recv().await;
        })
        .await
}

fn app() -> Router {
    Router::new()
        .route("/", get(|| async { Html("<!doctype html><title>Hello</title><h1>Hello</h1>") }))
        .route("/greet", get(greet))
        .route("/path/{name}/x", get(|Path(name): Path<String>| async { name }))
        .route("/form", get(liking).post(like))
        .route("/upload", post(upload))
        .route("/echo", post(echo))
        .route("/method", put(method).delete(method).patch(method))
        .route("/download", get(download))
        .route("/stream", get(lines))
        .route("/events", get(events))
        .route("/cookie", get(cookies))
        .route("/about", get(about))
        .route("/error", get(|| async { Mistake("a mistake made on purpose") }))
        .route("/who", get(|| async { std::process::id().to_string() }))
        .route("/ws", any(|upgrade: WebSocketUpgrade| async { upgrade.on_upgrade(converse) }))
        .layer(DefaultBodyLimit::max(100 << 20))
}

#[derive(Deserialize)]
struct Greeted {
    name: String,
}

async fn greet(Query(greeted): Query<Greeted>) -> String {
    format!("Hello {}", greeted.name)
}

#[derive(Deserialize, Serialize)]
struct Liking {
    name: String,
    colour: String,
}

async fn liking(Query(said): Query<Liking>) -> String {
    format!("{} likes {}", said.name, said.colour)
}

async fn like(Form(said): Form<Liking>) -> Response {
    match serde_urlencoded::to_string(&said) {
        Ok(query) => Redirect::to(&format!("/form?{query}")).into_response(),
        Err(_) => StatusCode::UNPROCESSABLE_ENTITY.into_response(),
    }
}

#[derive(Default, Serialize)]
struct Uploaded {
    name: String,
    size: usize,
    sha256: String,
    note: String,
}

async fn upload(mut form: Multipart) -> Result<Json<Uploaded>, Response> {
    let mut uploaded = Uploaded::default();
    while let Some(field) = form.next_field().await.map_err(IntoResponse::into_response)? {
        match field.name() {
            Some("file") => {
                uploaded.name = field.file_name().unwrap_or_default().to_owned();
                let content = field.bytes().await.map_err(IntoResponse::into_response)?;
                uploaded.size = content.len();
                let digest = Sha256::digest(&content);
                uploaded.sha256 = digest.iter().map(|byte| format!("{byte:02x}")).collect();
            }
            Some("note") => {
                uploaded.note = field.text().await.map_err(IntoResponse::into_response)?;
            }
            _ => {}
        }
    }
    Ok(Json(uploaded))
}

async fn echo(fields: HeaderMap, body: Bytes) -> Response {
    match fields.get(header::CONTENT_TYPE) {
        Some(kind) => ([(header::CONTENT_TYPE, kind.clone())], body).into_response(),
        None => body.into_response(),
    }
}

async fn method(method: Method) -> String {
    method.to_string()
}

async fn download() -> impl IntoResponse {
    let numbers: Vec<u8> = (0..1024 * 1024).map(|number| (number * 7 % 256) as u8).collect();
    let named = (header::CONTENT_DISPOSITION, "attachment; filename=\"numbers.bin\"");
    ([(header::CONTENT_TYPE, "application/octet-stream"), named], numbers)
}

async fn lines() -> impl IntoResponse {
    let lines = stream::unfold(1, |number| async move {
        if number > 5 {
            return None;
        }
        if number > 1 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Some((Ok::<_, Infallible>(format!("line {number}\n")), number + 1))
    });
    ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], Body::from_stream(lines))
}

async fn events() -> impl IntoResponse {
    let event =
        |number: u32| Event::default().id(number.to_string()).data(format!("event {number}"));
    Sse::new(stream::iter((1..=3).map(move |number| Ok::<_, Infallible>(event(number)))))
}

async fn cookies() -> impl IntoResponse {
    (AppendHeaders([(header::SET_COOKIE, "a=1"), (header::SET_COOKIE, "b=2")]), "two cookies")
}

/// Who asks, as the edge has seen it: only the edge reaches this socket.
async fn about(OriginalUri(uri): OriginalUri, fields: HeaderMap) -> Json<serde_json::Value> {
    let field = |name: &str| fields.get(name).and_then(|value| value.to_str().ok());
    Json(serde_json::json!({
        "scheme": field("x-forwarded-proto"),
        "host": field("host"),
        "client": field("x-forwarded-for"),
        "path": uri.path(),
        "query": uri.query().unwrap_or_default(),
        "userAgent": field("user-agent"),
    }))
}

/// What goes wrong is told in the log, and to the client only that it did.
struct Mistake(&'static str);

impl IntoResponse for Mistake {
    fn into_response(self) -> Response {
        eprintln!("error: {}", self.0);
        (StatusCode::INTERNAL_SERVER_ERROR, "something went wrong").into_response()
    }
}

async fn converse(mut socket: WebSocket) {
    while let Some(Ok(message)) = socket.recv().await {
        let answer = match message {
            Message::Text(text) if text.as_str() == "bye" => {
                Message::Close(Some(CloseFrame { code: 4001, reason: "bye".into() }))
            }
            Message::Text(_) | Message::Binary(_) => message,
            // Pings and closes are answered already.
            _ => continue,
        };
        if socket.send(answer).await.is_err() {
            return;
        }
    }
}
