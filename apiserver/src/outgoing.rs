//! Connections that this server makes to others: webhooks, and the servers of aggregated APIs.

mod dial;
mod tls;

pub(crate) use dial::{connect_tls, http_told};
pub(crate) use tls::{Trust, tls_config};

use crate::proxy::backend::Unverified;
