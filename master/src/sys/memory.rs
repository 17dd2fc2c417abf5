//! Memory that goes back to the system.

pub use rip_worker::release_text;

/// Gives back whole pages that were freed and lie between others that were not; the allocator keeps
/// them otherwise, for as long as something above them is in use. It takes a millisecond for each ten
/// megabytes or so, in which nobody else of the process gets memory.
pub fn trim() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it may be called at any time, by any thread.
    unsafe {
        libc::malloc_trim(0);
    }
}
