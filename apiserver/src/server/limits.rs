//! The limits of connections: how many, for how long, how much of each.

use std::time::Duration;

/// How many connections there may be at once. When they are all taken, the one that was idle longest goes.
pub const CONNECTIONS_MAX: usize = 16_384;
/// How many connections of one address may be there that nobody has authenticated on; beyond that the one that was
/// idle longest goes. It is far more than a client opens at once, also where many of them share an address.
pub const STRANGERS_PER_ADDRESS_MAX: usize = 1_024;
/// How long a TLS handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the headers of a request may take to come (`ReadHeaderTimeout` in apiserver's `secure_serving.go`).
const HEADERS_TIMEOUT: Duration = Duration::from_secs(32);
/// How long an HTTP/2 client may take to say that it is one (`prefaceTimeout` in Go's `http2`).
const PREFACE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection is kept between requests (`IdleTimeout` in apiserver's `secure_serving.go`).
const IDLE_TIMEOUT: Duration = Duration::from_secs(90);
/// How long an answer may lie there without the client taking any of it. What lasts (watches, logs, streams) may pause
/// for as long as the client lives; anything else ends, as it does in the reference when its request's time is over.
const STALL_TIMEOUT: Duration = Duration::from_secs(60);
/// How long after the last sign of life an HTTP/2 client is asked for one (`ReadIdleTimeout` of client-go).
const PING_INTERVAL: Duration = Duration::from_secs(30);
/// How long it may take to answer.
const PING_TIMEOUT: Duration = Duration::from_secs(30);
/// How long the system waits before it asks a silent peer for a sign of life (`defaultKeepAlivePeriod`).
pub(super) const KEEPALIVE_PERIOD: Duration = Duration::from_secs(180);

/// What a server allows connections. The default is what is served with; tests hand in less.
#[derive(Debug, Clone)]
pub struct Limits {
    /// How many connections there may be.
    pub connections_max: usize,
    /// How many of one address may be there that nobody has authenticated on.
    pub strangers_per_address_max: usize,
    /// How long a TLS handshake may take.
    pub handshake_timeout: Duration,
    /// How long headers may take to come.
    pub headers_timeout: Duration,
    /// How long an HTTP/2 client may take to say that it is one.
    pub preface_timeout: Duration,
    /// How long a connection is kept between requests.
    pub idle_timeout: Duration,
    /// How long an answer may lie there without the client taking any of it.
    pub stall_timeout: Duration,
    /// How long after the last sign of life an HTTP/2 client is asked for one.
    pub ping_interval: Duration,
    /// How long it may take to answer.
    pub ping_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: CONNECTIONS_MAX,
            strangers_per_address_max: STRANGERS_PER_ADDRESS_MAX,
            handshake_timeout: HANDSHAKE_TIMEOUT,
            headers_timeout: HEADERS_TIMEOUT,
            preface_timeout: PREFACE_TIMEOUT,
            idle_timeout: IDLE_TIMEOUT,
            stall_timeout: STALL_TIMEOUT,
            ping_interval: PING_INTERVAL,
            ping_timeout: PING_TIMEOUT,
        }
    }
}
