//! What the configuration says about the connection, as options of the client.

use std::sync::Arc;

use rumqttc::{MqttOptions, TlsConfiguration, Transport as ClientTransport};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use secrecy::ExposeSecret;

use crate::config::{Identity, Mqtt, Tls, Transport};
use crate::sink::{Failure, tls};

/// The key that says whom to trust.
pub(super) const CA_KEY: &str = "mqtt.ca_file";
const CERTIFICATE_KEY: &str = "mqtt.client_certificate";
const KEY_KEY: &str = "mqtt.client_key";

/// Options for one connection: where to, how, and as whom. Certificates are read anew each time, so
/// that a renewed one is taken without a restart.
pub fn options(config: &Mqtt) -> Result<MqttOptions, Failure> {
    let (address, transport) = match &config.transport {
        Transport::Tcp => (bare_host(config), ClientTransport::Tcp),
        Transport::Tls(tls) => (
            bare_host(config),
            ClientTransport::tls_with_config(client_config(tls)?),
        ),
        Transport::WebSocket { .. } => (config.url(), ClientTransport::Ws),
        Transport::SecureWebSocket { tls, .. } => (
            config.url(),
            ClientTransport::wss_with_config(client_config(tls)?),
        ),
    };
    let mut options = MqttOptions::new(&config.client_id, address, config.port);
    options
        .set_transport(transport)
        .set_keep_alive(config.keep_alive)
        .set_inflight(config.max_inflight);
    if let Some(username) = &config.username {
        let password = config.password.as_ref();
        let password = password.map_or("", |secret| secret.expose_secret());
        options.set_credentials(username, password);
    }
    Ok(options)
}

/// An IPv6 address has brackets in a URL, and none where a certificate is checked.
fn bare_host(config: &Mqtt) -> String {
    config.host.trim_matches(['[', ']']).to_owned()
}

fn client_config(config: &Tls) -> Result<TlsConfiguration, Failure> {
    build(config).map_err(Failure::Refused)
}

fn build(config: &Tls) -> Result<TlsConfiguration, String> {
    let mut trusted = RootCertStore::empty();
    let (added, _) =
        trusted.add_parsable_certificates(tls::trusted(config.ca_file.as_deref(), CA_KEY)?);
    if added == 0 {
        return Err(format!("no certificate in {CA_KEY} can be read"));
    }
    let provider = Arc::new(ring::default_provider());
    let verifier = verifier(trusted, &provider, config.server_name.as_deref())?;
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("TLS cannot be set up: {error}"))?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut client = match &config.identity {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            let (chain, key) = read(identity)?;
            let result = builder.with_client_auth_cert(chain, key);
            result
                .map_err(|error| format!("cannot use {CERTIFICATE_KEY} with {KEY_KEY}: {error}"))?
        }
    };
    let protocols = config.alpn.iter().map(|name| name.clone().into_bytes());
    client.alpn_protocols = protocols.collect();
    Ok(TlsConfiguration::Rustls(Arc::new(client)))
}

fn read(
    identity: &Identity,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), String> {
    let chain = tls::certificates(&identity.certificate, CERTIFICATE_KEY)?;
    let key = PrivateKeyDer::from_pem_file(&identity.key).map_err(|error| {
        let why = format!(
            "{}; a key with a password must be decrypted first",
            tls::pem_error(&error)
        );
        tls::unusable(&identity.key, KEY_KEY, &why)
    })?;
    Ok((chain, key))
}

/// Checks as every web browser does, but for the name that is configured, if one is.
fn verifier(
    trusted: RootCertStore,
    provider: &Arc<CryptoProvider>,
    name: Option<&str>,
) -> Result<Arc<dyn ServerCertVerifier>, String> {
    let verifier =
        WebPkiServerVerifier::builder_with_provider(Arc::new(trusted), provider.clone()).build();
    let verifier = verifier.map_err(|error| format!("cannot use {CA_KEY}: {error}"))?;
    let Some(name) = name else {
        return Ok(verifier);
    };
    let name = ServerName::try_from(name.to_owned());
    let name = name.map_err(|error| format!("cannot use mqtt.server_name: {error}"))?;
    Ok(Arc::new(ByName { verifier, name }))
}

/// The client knows one name alone, which it also connects to: this one checks for another.
#[derive(Debug)]
struct ByName {
    verifier: Arc<WebPkiServerVerifier>,
    name: ServerName<'static>,
}

impl ServerCertVerifier for ByName {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _connected_to: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.verifier
            .verify_server_cert(certificate, intermediates, &self.name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier
            .verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier
            .verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}
