//! `builtin:hello`: the same greeting for every request.

use crate::request::Request;
use crate::response::Response;

pub(super) fn answer(_: &mut Request<'_>) -> Response {
    Response::text("Hello from rip-master\n")
}
