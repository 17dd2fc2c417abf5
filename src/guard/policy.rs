//! What may run in a page of the server's own: its own script and styles, known by their digests, and
//! nothing else (Content Security Policy Level 3 §6.7).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

/// The value of `Content-Security-Policy` for `page`, which is HTML of our own: its `<script>` and `<style>`
/// elements have no attributes. It may ask the place it came from, and nobody frames it.
pub fn content_policy(page: &str) -> String {
    format!(
        "default-src 'none'; script-src {}; style-src {}; connect-src 'self'; img-src data:; \
         form-action 'none'; base-uri 'none'; frame-ancestors 'none'",
        sources(page, "<script>", "</script>"),
        sources(page, "<style>", "</style>")
    )
}

/// Every element between `open` and `close`, by its digest; `'none'` where there is none.
fn sources(page: &str, open: &str, close: &str) -> String {
    let elements = page.split(open).skip(1).filter_map(|rest| Some(rest.split_once(close)?.0));
    let digests: Vec<String> = elements
        .map(|text| format!("'sha256-{}'", STANDARD.encode(Sha256::digest(text))))
        .collect();
    if digests.is_empty() { "'none'".to_owned() } else { digests.join(" ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_in_the_page_may_run() {
        // printf '%s' 'let a = 1;' | openssl dgst -sha256 -binary | base64
        let page = "<style>a{}</style><p>x</p><script>let a = 1;</script><script>b()</script>";
        let policy = content_policy(page);
        assert!(
            policy.contains(
                "script-src 'sha256-xY6QKfH9PRsQnLz56nj6MBwiK5oHg+im1Jkpdp1x/Ck=' 'sha256-"
            ),
            "{policy}"
        );
        assert!(policy.starts_with("default-src 'none';") && !policy.contains("unsafe"));
        assert!(content_policy("<p>").contains("script-src 'none'; style-src 'none';"));
    }
}
