//! Memory that goes back to the system.
//!
//! What is freed goes back by itself where nothing above it is in use, and more than
//! [`KEPT_BYTES`] of it: an encoder or a crowd that comes again finds it there. glibc would raise
//! that bound by itself, and each thread has memory of its own. Where another allocator is linked nothing
//! is done here.

pub use rip_worker::release_text;

/// Sets the bounds. To be called once, before there are threads.
pub fn settle() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it may be called at any time.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, MAPPED_BYTES);
        libc::mallopt(libc::M_TRIM_THRESHOLD, KEPT_BYTES);
    }
}

/// Gives back whole pages that were freed, also between others that are in use, and all that the calling
/// thread keeps. It takes a millisecond for each ten megabytes or so, in which nobody else of the
/// process gets memory.
pub fn trim() {
    #[cfg(target_env = "gnu")]
    {
        // SAFETY: they may be called at any time, by any thread.
        unsafe {
            libc::malloc_trim(0);
            libc::mallopt(libc::M_TRIM_THRESHOLD, PROBE_BYTES as libc::c_int);
        }
        // What lies above everything in use stays where a thread is not the first one, except when
        // something large is freed.
        drop(std::hint::black_box(Vec::<u8>::with_capacity(PROBE_BYTES)));
        // SAFETY: as above.
        unsafe { libc::mallopt(libc::M_TRIM_THRESHOLD, KEPT_BYTES) };
    }
}

/// Pieces of this size have a mapping of their own, which goes back with them.
#[cfg(target_env = "gnu")]
const MAPPED_BYTES: libc::c_int = 4 << 20;
/// What a thread keeps at most above all that is in use: as much as the largest encoder takes.
#[cfg(target_env = "gnu")]
const KEPT_BYTES: libc::c_int = 4 << 20;
#[cfg(target_env = "gnu")]
const PROBE_BYTES: usize = 128 << 10;

#[cfg(all(test, target_env = "gnu"))]
mod tests {
    use super::*;
    use crate::sys::proc::rss_bytes;

    #[test]
    fn what_a_thread_has_freed_goes_back() {
        settle();
        let resident = || rss_bytes(std::process::id()).expect("/proc is there");
        let freed = std::thread::spawn(move || {
            let pieces: Vec<Vec<u8>> = (0..30_000).map(|_| vec![1; 3000]).collect();
            // One that stays, in the middle of them.
            let mut pieces = std::hint::black_box(pieces);
            let stays = pieces.swap_remove(15_000);
            let full = resident();
            drop(pieces);
            trim();
            drop(stays);
            full.saturating_sub(resident())
        });
        assert!(freed.join().expect("it ends") > 60 << 20);
    }
}
