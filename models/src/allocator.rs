//! How much freed memory the process keeps for its next tensors.
//!
//! By default large blocks go back to the system when they are freed and come again page by page, each page zeroed. A training step
//! frees and asks for the same blocks in turn: for a routed layer of StableLM 2 1.6B, whose weight gradients are 554 MB, the pages cost
//! a tenth of the step (`examples/moe_layer.rs`).

use crate::ext;

/// Lets the allocator keep freed blocks of up to `largest_mib` MiB, and up to `idle_mib` MiB of them at the end of its heap. Both are
/// capped at what `mallopt` takes, 2 GiB. Of no effect where the allocator is not glibc's.
pub fn keep_freed(largest_mib: i32, idle_mib: i32) {
    #[cfg(target_env = "gnu")]
    {
        let bytes = |mib: i32| mib.saturating_mul(1 << 20);
        // SAFETY: sets two plain numbers under the allocator's own lock.
        unsafe {
            libc::mallopt(libc::M_MMAP_THRESHOLD, bytes(largest_mib));
            libc::mallopt(libc::M_TRIM_THRESHOLD, bytes(idle_mib));
        }
    }
}

/// For a process that trains on the CPU: whatever tensors a step frees, the next one finds, by their size and in huge pages where the
/// system has them. Tensors made before keep the allocator they came from. As much is kept as is in use at most.
///
/// # Errors
/// When libtorch refuses another allocator.
pub fn keep_freed_for_training() -> ext::Result<()> {
    ext::training::keep_freed_tensors()
}
