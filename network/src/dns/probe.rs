//! One question to the cluster's DNS, to see whether it answers.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, RecordType};
use tokio::net::UdpSocket;

/// How long an answer may take.
const ANSWER_MAX: Duration = Duration::from_millis(500);

/// Whether the server at `address` has an address for `name`.
///
/// # Errors
/// If no socket can be made or the name is none.
pub async fn resolves(address: IpAddr, name: &str) -> io::Result<bool> {
    let name = Name::from_str(name).map_err(io::Error::other)?;
    let mut question = Message::new(1, MessageType::Query, OpCode::Query);
    question.add_query(Query::query(name, RecordType::A));
    let bytes = question.to_vec().map_err(io::Error::other)?;
    let socket = UdpSocket::bind("0.0.0.0:0").await?;
    if socket.connect(SocketAddr::new(address, 53)).await.is_err() || socket.send(&bytes).await.is_err() {
        return Ok(false);
    }
    let mut answer = [0u8; 1500];
    match tokio::time::timeout(ANSWER_MAX, socket.recv(&mut answer)).await {
        Ok(Ok(size)) => Ok(Message::from_vec(&answer[..size])
            .is_ok_and(|message| message.response_code == ResponseCode::NoError && !message.answers.is_empty())),
        _ => Ok(false),
    }
}
