//! One question to one endpoint over HTTP.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::header::{CONTENT_TYPE, HeaderName, RETRY_AFTER};
use hyper::{Method, Request};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use std::sync::Arc;

use super::Endpoint;
use super::answer;
use super::policy::Failure;

/// Largest answer: a hundred transactions of some kilobytes, or the whole configuration.
const MOST_BYTES: usize = 8 << 20;
const API_KEY: HeaderName = HeaderName::from_static("x-api-key");

pub(super) type Connection = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// A client that trusts Mozilla's roots and nobody else, through the workspace's one provider.
pub(super) fn connection() -> Result<Connection, String> {
    let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = HttpsConnectorBuilder::new().with_tls_config(config).https_or_http().enable_http1().build();
    Ok(Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(Duration::from_secs(30))
        .build(connector))
}

/// Asks, and waits for the whole answer, but no longer than that.
pub(super) async fn ask(
    connection: &Connection,
    endpoint: &Endpoint,
    method: &str,
    params: &Value,
    patience: Duration,
) -> Result<Value, Failure> {
    let body = serde_json::json!({ "id": "1", "jsonrpc": "2.0", "method": method, "params": params });
    let mut request =
        Request::builder().method(Method::POST).uri(endpoint.url.clone()).header(CONTENT_TYPE, "application/json");
    if let Some(key) = &endpoint.key {
        request = request.header(API_KEY, key.clone());
    }
    let request = request
        .body(Full::new(Bytes::from(body.to_string())))
        .map_err(|error| Failure::NotReached(error.to_string()))?;
    let answered = async {
        let response = connection.request(request).await.map_err(|error| {
            if error.is_connect() {
                Failure::NotReached(error.to_string())
            } else {
                Failure::NoAnswer(error.to_string())
            }
        })?;
        let status = response.status().as_u16();
        let wish = response.headers().get(RETRY_AFTER).and_then(|wish| wish.to_str().ok()?.parse().ok());
        let body = Limited::new(response.into_body(), MOST_BYTES).collect().await.map_err(|error| {
            if error.is::<LengthLimitError>() {
                Failure::Nonsense(format!("an answer of more than {MOST_BYTES} bytes"))
            } else {
                Failure::NoAnswer("the answer broke off".to_owned())
            }
        })?;
        match answer::envelope(status, &body.to_bytes()) {
            Err(Failure::Busy(None)) => Err(Failure::Busy(wish.map(Duration::from_secs))),
            other => other,
        }
    };
    match tokio::time::timeout(patience, answered).await {
        Ok(answered) => answered,
        Err(_) => Err(Failure::NoAnswer(format!("no answer within {patience:?}"))),
    }
}
