//! The time that this thread has run, which other work on the machine does not add to.

/// Nanoseconds on a processor.
pub(crate) fn nanoseconds() -> u64 {
    // What a thread has run is counted when it is scheduled.
    std::thread::yield_now();
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux tells the time of a thread");
    text.split_whitespace().next().and_then(|first| first.parse().ok()).expect("nanoseconds come first")
}
