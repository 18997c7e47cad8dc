//! Watches: the state, then every change, as frames of a stream that never ends by itself.

pub mod frame;
pub mod stream;
pub mod websocket;

pub use frame::{EventType, FrameCache};
pub use stream::Watching;
