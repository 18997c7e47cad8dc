//! Errors of the runtime, told apart.

use super::*;

#[test]
fn what_takes_too_long_is_told_apart() {
    let check = |code, message: &str, expected| {
        assert_eq!(Error::from(Status::new(code, message)).is_timeout(), expected, "{code:?} {message}");
    };
    check(Code::DeadlineExceeded, "context deadline exceeded", true);
    check(Code::Cancelled, "Timeout expired", true);
    check(Code::Unknown, "failed to exec in container: timeout 1s exceeded", true);
    check(Code::Unavailable, "Connection refused (os error 111)", false);
    check(Code::Unknown, "server is not initialized yet", false);
}
