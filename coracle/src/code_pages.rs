//! The memory that code takes: most of what runs at the start never runs again.

use std::ffi::{c_int, c_void};
use std::time::Duration;

/// How long after its start a server is settled.
pub const SETTLED_AFTER: Duration = Duration::from_secs(2);

/// Lets go of the pages of the program's code and constants. They are in the file, and those that are still needed
/// come back one by one as they are touched.
pub fn release() {
    // SAFETY: the callback is of the right type and uses what it is given only while it is called.
    unsafe {
        libc::dl_iterate_phdr(Some(release_object), std::ptr::null_mut());
    }
}

/// Called for the program (the first object) and, until it says stop, for each library.
unsafe extern "C" fn release_object(info: *mut libc::dl_phdr_info, _: usize, _: *mut c_void) -> c_int {
    // SAFETY: the loader gives a valid object with as many headers as it says.
    let (base, headers) = unsafe {
        let info = &*info;
        (info.dlpi_addr, std::slice::from_raw_parts(info.dlpi_phdr, usize::from(info.dlpi_phnum)))
    };
    for header in headers {
        // What is writable has been changed since it was loaded.
        if header.p_type != libc::PT_LOAD || header.p_flags & libc::PF_W != 0 {
            continue;
        }
        let (page, from) = (4096, base + header.p_vaddr);
        let start = from.next_multiple_of(page);
        let end = (from + header.p_memsz) / page * page;
        if let (Ok(start), Ok(length)) = (usize::try_from(start), usize::try_from(end.saturating_sub(start))) {
            // SAFETY: the range is mapped from a file and never written to, so its content stays the same.
            unsafe { libc::madvise(start as *mut c_void, length, libc::MADV_DONTNEED) };
        }
    }
    1
}
