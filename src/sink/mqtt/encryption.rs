//! What the configuration says about encryption, as the TLS client wants it.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use crate::config::{Identity, Tls};
use crate::sink::{Failure, tls};

/// The key that says whom to trust.
pub(super) const CA_KEY: &str = "mqtt.ca_file";
const CERTIFICATE_KEY: &str = "mqtt.client_certificate";
const KEY_KEY: &str = "mqtt.client_key";

/// The encryption of one connection. Certificates are read anew each time, so that a renewed one is
/// taken without a restart.
pub(super) fn client_config(config: &Tls) -> Result<Arc<ClientConfig>, Failure> {
    build(config).map_err(Failure::Refused)
}

fn build(config: &Tls) -> Result<Arc<ClientConfig>, String> {
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
    Ok(Arc::new(client))
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
