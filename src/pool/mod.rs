//! Who may use which worker.
