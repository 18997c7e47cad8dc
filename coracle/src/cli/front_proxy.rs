//! The flags of the front proxy.

use std::path::PathBuf;

use apiserver::authentication::request_header::Names;
use apiserver::front_proxy::FrontProxyOptions;

use crate::error::Error;

/// Who is believed that names users in headers, and what this server shows when it does the same. The names are kube-apiserver's.
#[derive(clap::Args, Debug, Clone)]
pub(super) struct FrontProxyFlags {
    /// The authorities of clients that are believed when they name a user in headers [default: this cluster's own].
    #[arg(long, value_name = "FILE")]
    requestheader_client_ca_file: Option<PathBuf>,
    /// Common names of the certificates of such clients, with commas between them; any if there are none.
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    requestheader_allowed_names: Vec<String>,
    /// Headers that hold a user's name, such as X-Remote-User.
    #[arg(long, value_name = "HEADERS", value_delimiter = ',')]
    requestheader_username_headers: Vec<String>,
    /// Headers that hold a user's uid, such as X-Remote-Uid.
    #[arg(long, value_name = "HEADERS", value_delimiter = ',')]
    requestheader_uid_headers: Vec<String>,
    /// Headers that hold a user's groups, such as X-Remote-Group.
    #[arg(long, value_name = "HEADERS", value_delimiter = ',')]
    requestheader_group_headers: Vec<String>,
    /// What headers with more about a user begin with, such as X-Remote-Extra-.
    #[arg(long, value_name = "PREFIXES", value_delimiter = ',')]
    requestheader_extra_headers_prefix: Vec<String>,
    /// The certificate that is shown to the servers of aggregated APIs [default: one of this cluster's own authority].
    #[arg(long, value_name = "FILE", requires = "proxy_client_key_file")]
    proxy_client_cert_file: Option<PathBuf>,
    /// Its key.
    #[arg(long, value_name = "FILE", requires = "proxy_client_cert_file")]
    proxy_client_key_file: Option<PathBuf>,
}

impl FrontProxyFlags {
    /// What they ask for.
    ///
    /// # Errors
    /// What makes no sense.
    pub(super) fn options(&self) -> Result<FrontProxyOptions, Error> {
        let options = FrontProxyOptions {
            client_ca_file: self.requestheader_client_ca_file.clone(),
            allowed_names: self.requestheader_allowed_names.clone(),
            names: Names {
                username: self.requestheader_username_headers.clone(),
                uid: self.requestheader_uid_headers.clone(),
                group: self.requestheader_group_headers.clone(),
                extra_prefix: self.requestheader_extra_headers_prefix.clone(),
            },
            client: self.proxy_client_cert_file.clone().zip(self.proxy_client_key_file.clone()),
            ..FrontProxyOptions::default()
        };
        options.validate().map_err(|error| Error::usage(error.to_string()))?;
        Ok(options)
    }
}
