//! HTTP/1.1 tables.
