//! What it costs to tell many, and what a client takes.
