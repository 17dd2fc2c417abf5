//! `static`: a directory whose files are served.

use super::Bench;
use crate::contract::route::{Methods, RouteAction, StaticFiles};
use crate::edgefile::kind::Typed;
use crate::edgefile::lexer::shown;
use crate::edgefile::validate::{Checked, Given};

/// The action that `node`, the `static` of `route`, describes; `None` when it is wrong, which has
/// been told.
pub(super) fn files(
    node: &Checked,
    route: &Checked,
    bench: &mut Bench<'_, '_>,
) -> Option<RouteAction> {
    let given = node.argument();
    let named = given.and_then(Given::text);
    let dir = named.and_then(|path| bench.directory(path, given, node));
    let text = |name| node.property(name).and_then(Given::text).map(str::to_owned);
    let flag = |name| node.property(name).and_then(Given::flag).unwrap_or_default();
    if let Some(given) = node.property("cache-control").filter(|it| it.text() == Some("")) {
        let path = node.path_to("cache-control");
        let message = "`cache-control` says nothing";
        bench.report.error(given.span, &path, message, "for example \"public, max-age=3600\"");
    }
    check_methods(route, bench);
    let dir = dir?;
    let files = StaticFiles {
        index: text("index").unwrap_or_else(|| INDEX.to_owned()),
        spa_fallback: text("spa"),
        browse: flag("browse"),
        dotfiles: flag("dotfiles"),
        cache_control: text("cache-control"),
        dir,
    };
    check_there(node, "spa", &files, bench);
    check_there(node, "index", &files, bench);
    Some(RouteAction::Static(files))
}

/// Warns of a file that is named and not there: it may be made later.
fn check_there(node: &Checked, name: &str, files: &StaticFiles, bench: &mut Bench<'_, '_>) {
    let Some(given) = node.property(name) else { return };
    let Some(file) = given.text() else { return };
    let place = format!("{}/{file}", files.dir.trim_end_matches('/'));
    if bench.machine.readable_file(&place).is_err() {
        let message = format!("there is no file {} that can be read", shown(&place));
        let hint = match name {
            "spa" => "until it is there, pages that do not exist are answered 404",
            _ => "other directories may have one; this one has none",
        };
        bench.report.warning(given.span, &node.path_to(name), message, hint);
    }
}

/// A route for other methods would never answer with a file.
fn check_methods(route: &Checked, bench: &mut Bench<'_, '_>) {
    let Some(given) = route.property("methods") else { return };
    let Typed::Methods(Methods::Only(names)) = &given.typed else { return };
    if !names.iter().any(|name| matches!(name.as_str(), "GET" | "HEAD")) {
        let message = "files are for GET and HEAD, which this route does not take";
        bench.report.error(given.span, &route.path_to("methods"), message, "add GET");
    }
}

const INDEX: &str = "index.html";
