//! Memory that goes back to the system.

pub use rip_worker::release_text;

/// Gives back whole pages that were freed and lie between others that are in use; the allocator keeps
/// them otherwise. It takes a millisecond for each ten megabytes or so, in which nobody else of the
/// process gets memory. Where another allocator than glibc's is linked nothing is done.
///
/// What lies above everything in use on the heap of a thread stays there, up to a bound that glibc
/// sets by the largest piece that was ever freed: it serves the next crowd. Lower bounds were tried: they
/// cost encoders a mapping each, or idle clients twice their memory while a vector of them grows.
pub fn trim() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it may be called at any time, by any thread.
    unsafe {
        libc::malloc_trim(0);
    }
}
