//! Request bodies, read whole and within the limits.

use std::time::Duration;

use api::decode::BODY_BYTES_MAX;
use api::{Status, UserInfo};
use axum::body::Body;
use bytes::Bytes;
use http_body::Body as _;
use http_body_util::{BodyExt, LengthLimitError, Limited};

use crate::chain::inflight::TooMany;
use crate::shares::{Exhausted, Share, Shares, Sizes};

/// How many bytes of bodies may be there at once, come or still coming; as many again are the system's own.
const BODIES_BYTES_MAX: usize = 64 << 20;
/// How many of them can be one user's.
const BODIES_SHARE_BYTES: usize = 16 << 20;
/// How long a body may take to come, from the moment that there is room for it.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a request waits for room for its body.
const ROOM_TIMEOUT: Duration = Duration::from_secs(45);
/// How many bodies may wait for room, and how many of one user.
const WAITING_MAX: usize = 5_000;
const WAITING_SHARE: usize = WAITING_MAX / 2;
/// Bodies longer than this wait for room to be worked on.
const LARGE_BYTES: usize = 256 * 1024;
/// How many bytes of large bodies are worked on at once. What decoding makes of a body can be thirty times as large,
/// so this bounds the memory that many clients with large bodies can take.
const LARGE_BYTES_MAX: usize = 8 * 1024 * 1024;
/// How many of them can be one user's: at least one body of the largest sort.
const LARGE_SHARE_BYTES: usize = LARGE_BYTES_MAX / 2;

/// How many bytes of answers that are made as a whole may be there at once: lists in another form than the stored one.
const ANSWERS_BYTES_MAX: usize = 64 << 20;
/// How many of them can be one user's.
const ANSWERS_SHARE_BYTES: usize = ANSWERS_BYTES_MAX / 2;

/// The room for bodies of one server.
#[derive(Debug, Clone)]
pub struct Room {
    everybody: Part,
    system: Part,
    timeout: Duration,
}

/// The room of some users.
#[derive(Debug, Clone)]
struct Part {
    bodies: Shares,
    large: Shares,
    answers: Shares,
}

impl Default for Room {
    fn default() -> Self {
        Self { everybody: Part::default(), system: Part::default(), timeout: BODY_TIMEOUT }
    }
}

impl Default for Part {
    fn default() -> Self {
        let shares =
            |total, share| Shares::new(Sizes { total, share, waiting: WAITING_MAX, waiting_share: WAITING_SHARE });
        Self {
            bodies: shares(BODIES_BYTES_MAX, BODIES_SHARE_BYTES),
            large: shares(LARGE_BYTES_MAX, LARGE_SHARE_BYTES),
            answers: shares(ANSWERS_BYTES_MAX, ANSWERS_SHARE_BYTES),
        }
    }
}

/// A body that has come, with its part of the room.
#[derive(Debug)]
pub struct Received {
    bytes: Bytes,
    share: Option<Share>,
}

/// The room for an answer to a user that is made as a whole.
#[derive(Debug)]
pub struct Making(Option<Share>);

impl Making {
    /// The answer, which keeps its room for as long as somebody has some of it.
    pub fn done(self, bytes: Bytes) -> Bytes {
        match self.0 {
            None => bytes,
            share => Bytes::from_owner(Held { bytes, _shares: [share, None] }),
        }
    }
}

/// A body and its part of the room, for as long as somebody has some of it.
struct Held {
    bytes: Bytes,
    _shares: [Option<Share>; 2],
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Room {
    fn of(&self, user: &UserInfo) -> &Part {
        if is_system(user) { &self.system } else { &self.everybody }
    }

    /// Reads a user's body, for which there has to be room before any of it is read.
    ///
    /// # Errors
    /// 413 if it is too long, 408 if it takes too long, 429 if there is no room, 500 if it breaks off.
    pub async fn receive(&self, body: Body, user: &UserInfo) -> Result<Received, Status> {
        if body.is_end_stream() {
            return Ok(Received { bytes: Bytes::new(), share: None });
        }
        let hint = body.size_hint();
        if hint.lower() > BODY_BYTES_MAX as u64 {
            return Err(too_large());
        }
        // A body that does not say how long it is gets room for the longest: who has begun can always end.
        let declared = hint.upper().and_then(|bytes| usize::try_from(bytes).ok());
        let amount = declared.unwrap_or(BODY_BYTES_MAX).min(BODY_BYTES_MAX);
        let mut share = self.of(user).bodies.take(user, amount, ROOM_TIMEOUT).await.map_err(|Exhausted| no_room())?;
        let bytes = match tokio::time::timeout(self.timeout, Limited::new(body, BODY_BYTES_MAX).collect()).await {
            Ok(Ok(collected)) => collected.to_bytes(),
            Ok(Err(error)) if error.is::<LengthLimitError>() => return Err(too_large()),
            Ok(Err(error)) => return Err(broken(&*error)),
            Err(_) => return Err(self.late()),
        };
        share.shrink(bytes.len());
        Ok(Received { bytes, share: Some(share) })
    }

    fn late(&self) -> Status {
        Status::failure(408, "Timeout", format!("the request body did not come within {:?}", self.timeout))
    }

    /// The bytes of a body, to be worked on; a large one waits for its turn.
    ///
    /// # Errors
    /// 429 if that does not come.
    pub async fn work_on(&self, received: Received, user: &UserInfo) -> Result<Bytes, Status> {
        let Received { bytes, share } = received;
        if share.is_none() {
            return Ok(bytes);
        }
        let large = match bytes.len() {
            ..=LARGE_BYTES => None,
            size => Some(self.of(user).large.take(user, size, ROOM_TIMEOUT).await.map_err(|Exhausted| no_room())?),
        };
        Ok(Bytes::from_owner(Held { bytes, _shares: [share, large] }))
    }
}

impl Room {
    /// Room for an answer that is made from so many stored bytes; a small one needs none. Nobody waits for it, since who
    /// would does so among the few that work.
    ///
    /// # Errors
    /// 429 if there is none.
    pub async fn make(&self, stored_bytes: usize, user: &UserInfo) -> Result<Making, Status> {
        if stored_bytes <= LARGE_BYTES {
            return Ok(Making(None));
        }
        let share =
            self.of(user).answers.take(user, stored_bytes, Duration::ZERO).await.map_err(|Exhausted| no_room())?;
        Ok(Making(Some(share)))
    }
}

/// Those that a cluster needs to stay one, whose bodies have room of their own: administrators, nodes, and the components
/// and service accounts of the system (the flow schemas `exempt`, `system-nodes`, `kube-controller-manager`,
/// `kube-scheduler` and `kube-system-service-accounts`). It is known by name, as bytes are taken before a level can be asked.
fn is_system(user: &UserInfo) -> bool {
    const GROUPS: [&str; 2] = ["system:masters", "system:nodes"];
    const USERS: [&str; 4] =
        ["system:apiserver", "system:kube-controller-manager", "system:kube-proxy", "system:kube-scheduler"];
    const SERVICE_ACCOUNTS: &str = "system:serviceaccount:kube-system:";
    user.groups.iter().any(|group| GROUPS.contains(&group.as_str()))
        || USERS.contains(&user.username.as_str())
        || user.username.starts_with(SERVICE_ACCOUNTS)
}

fn too_large() -> Status {
    Status::too_large(format!("Request entity too large: limit is {BODY_BYTES_MAX}"))
}

fn no_room() -> Status {
    TooMany::default().status()
}

/// A body that breaks off, or is not what HTTP says it is (`NewInternalError` of whatever `ReadAll` says).
fn broken(error: &(dyn std::error::Error + 'static)) -> Status {
    let mut text = format!("the request body cannot be read: {error}");
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    Status::failure(500, "", text)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures::FutureExt;
    use futures::stream::{self, StreamExt};

    use super::*;

    fn user(name: &str) -> UserInfo {
        UserInfo::new(name, &[])
    }

    /// A body of which nothing comes after these bytes.
    fn unfinished(bytes: &'static [u8]) -> Body {
        Body::from_stream(stream::iter([Ok::<_, Infallible>(Bytes::from_static(bytes))]).chain(stream::pending()))
    }

    #[test]
    fn the_system_is_known_by_name() {
        let check = |name: &str, groups: &[&str], expected| {
            assert_eq!(is_system(&UserInfo::new(name, groups)), expected, "{name}");
        };
        check("admin", &["system:masters", "system:authenticated"], true);
        check("system:node:n", &["system:nodes"], true);
        check("system:kube-scheduler", &[], true);
        check("system:serviceaccount:kube-system:deployment-controller", &["system:serviceaccounts"], true);
        check("system:serviceaccount:kube-systems:x", &["system:serviceaccounts"], false);
        check("system:anonymous", &["system:unauthenticated"], false);
        check("alice", &["system:authenticated"], false);
    }

    #[tokio::test]
    async fn a_body_that_does_not_come_ends() {
        let room = Room { timeout: Duration::from_millis(1), ..Room::default() };
        let status = room.receive(unfinished(b"{"), &user("alice")).await.unwrap_err();
        assert_eq!(status.code, 408);
        assert_eq!(room.everybody.bodies.taken(), 0);
    }

    #[tokio::test]
    async fn unfinished_bodies_of_one_user_leave_room_for_others() {
        let room = Room::default();
        let (alice, bob, admin) = (user("alice"), user("bob"), UserInfo::new("admin", &["system:masters"]));
        let mut slow: Vec<_> = (0..20).map(|_| Box::pin(room.receive(unfinished(b"{"), &alice))).collect();
        for body in &mut slow {
            assert!(body.as_mut().now_or_never().is_none());
        }
        assert!(room.everybody.bodies.taken() <= BODIES_SHARE_BYTES);
        for user in [&bob, &admin] {
            let received = room.receive(Body::from("{}"), user).now_or_never().expect("there is room").unwrap();
            let bytes = room.work_on(received, user).await.unwrap();
            assert_eq!(&bytes[..], b"{}");
        }
        drop(slow);
        assert_eq!(room.everybody.bodies.taken(), 0);
    }

    #[tokio::test]
    async fn an_answer_keeps_its_room_until_it_is_gone() {
        let room = Room::default();
        let (alice, bob) = (user("alice"), user("bob"));
        let all = room.make(ANSWERS_SHARE_BYTES * 2, &alice).await.unwrap().done(Bytes::from_static(b"answer"));
        assert_eq!(room.make(LARGE_BYTES + 1, &alice).await.unwrap_err().code, 429);
        assert!(room.make(LARGE_BYTES, &alice).await.is_ok(), "small answers need no room");
        assert!(room.make(LARGE_BYTES + 1, &bob).await.is_ok());
        drop(all);
        assert!(room.make(LARGE_BYTES + 1, &alice).await.is_ok());
    }

    #[tokio::test]
    async fn a_body_keeps_its_room_while_it_is_there() {
        let room = Room::default();
        let large = Bytes::from(vec![b' '; LARGE_BYTES + 1]);
        let received = room.receive(Body::from(large.clone()), &user("alice")).await.unwrap();
        let bytes = room.work_on(received, &user("alice")).await.unwrap();
        let part = bytes.slice(..10);
        drop(bytes);
        assert_eq!((room.everybody.bodies.taken(), room.everybody.large.taken()), (large.len(), large.len()));
        drop(part);
        assert_eq!((room.everybody.bodies.taken(), room.everybody.large.taken()), (0, 0));
        let too_long = Body::from(vec![b' '; BODY_BYTES_MAX + 1]);
        assert_eq!(room.receive(too_long, &user("alice")).await.unwrap_err().code, 413);
    }
}
