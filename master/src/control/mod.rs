//! The one mind: processes, control socket, shutdown.
