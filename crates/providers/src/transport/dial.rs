//! Opening connections: TCP, and TLS with the protocol agreed on in its handshake.

use std::sync::Arc;
use std::time::Duration;

use hyper::Uri;
use hyper_rustls::{ConfigBuilderExt, HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::client::legacy::connect::{Connection, HttpConnector};
use hyper_util::rt::TokioIo;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tower_service::Service;

use super::TransportError;

/// A connection to an upstream, encrypted or not.
pub(super) type Socket = MaybeHttpsStream<TokioIo<TcpStream>>;

/// Opens connections to one upstream.
#[derive(Clone)]
pub(super) struct Dialer {
    connector: HttpsConnector<HttpConnector>,
    upstream: Uri,
}

impl Dialer {
    /// Dials the host of `upstream`. HTTP/2 is offered where the connection is encrypted.
    pub(super) fn new(upstream: Uri, tls: ClientConfig, patience: Duration) -> Self {
        let mut tcp = HttpConnector::new();
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(patience));
        tcp.enforce_http(false);
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .enable_http2()
            .wrap_connector(tcp);
        Self {
            connector,
            upstream,
        }
    }

    /// A new connection, and whether it speaks HTTP/2.
    pub(super) async fn dial(
        &self,
    ) -> Result<(Socket, bool), Box<dyn std::error::Error + Send + Sync>> {
        let mut connector = self.connector.clone();
        std::future::poll_fn(|cx| connector.poll_ready(cx)).await?;
        let socket = connector.call(self.upstream.clone()).await?;
        let h2 = socket.connected().is_negotiated_h2();
        Ok((socket, h2))
    }
}

/// What the upstream's certificate is checked against: these authorities (PEM), or else those that
/// the machine trusts.
pub(super) fn tls(authorities: Option<&[u8]>) -> Result<ClientConfig, TransportError> {
    let wrong = |error: &dyn std::fmt::Display| TransportError::Tls(error.to_string());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| wrong(&error))?;
    let builder = match authorities {
        None => builder.with_native_roots().map_err(|error| wrong(&error))?,
        Some(pem) => builder.with_root_certificates(roots(pem)?),
    };
    Ok(builder.with_no_client_auth())
}

/// For an upstream that is not encrypted: there is nothing to check.
pub(super) fn no_tls() -> Result<ClientConfig, TransportError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| TransportError::Tls(error.to_string()))?;
    Ok(builder
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth())
}

fn roots(pem: &[u8]) -> Result<RootCertStore, TransportError> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate =
            certificate.map_err(|error| TransportError::Authorities(error.to_string()))?;
        roots
            .add(certificate)
            .map_err(|error| TransportError::Authorities(error.to_string()))?;
    }
    if roots.is_empty() {
        let why = "there is no certificate in it".to_owned();
        return Err(TransportError::Authorities(why));
    }
    Ok(roots)
}
