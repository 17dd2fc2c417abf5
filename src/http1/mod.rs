//! HTTP/1.1 (RFC 9110, RFC 9112) without sockets: strict reading, exact writing.
