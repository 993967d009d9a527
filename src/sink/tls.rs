//! Whom an encrypted connection trusts, and what it means when the other side cannot be trusted.

use std::path::Path;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{self, PemObject};

use super::Failure;

/// Certificates of the authorities that are trusted: those in a file, or else those that this system
/// trusts. The error names `key`, the configuration's.
pub(super) fn trusted(
    ca_file: Option<&Path>,
    key: &str,
) -> Result<Vec<CertificateDer<'static>>, String> {
    if let Some(path) = ca_file {
        return certificates(path, key);
    }
    let system = rustls_native_certs::load_native_certs();
    if system.certs.is_empty() {
        return Err(format!(
            "this system trusts no authority: install the package ca-certificates, or set {key}"
        ));
    }
    Ok(system.certs)
}

/// The certificates in a file; at least one.
pub(super) fn certificates(path: &Path, key: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    match read {
        Ok(certificates) if Vec::is_empty(&certificates) => Err(unusable(
            path,
            key,
            "it holds no -----BEGIN CERTIFICATE-----",
        )),
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(unusable(path, key, &pem_error(&error))),
    }
}

/// Says that a file is of no use, and why.
pub(super) fn unusable(path: &Path, key: &str, why: &str) -> String {
    format!("cannot use {key} {}: {why}", path.display())
}

/// Why a PEM file could not be read, without anything that stands in it.
pub(super) fn pem_error(error: &pem::Error) -> String {
    match error {
        pem::Error::Io(error) => error.to_string(),
        pem::Error::NoItemsFound => "it holds nothing of the kind in PEM format".to_owned(),
        _ => "it is damaged or not in PEM format".to_owned(),
    }
}

/// What is wrong with a server's certificate, by the words that TLS has for it; `None` when they are
/// not about a certificate. `ca_key` is the key that says whom to trust.
///
/// The clients of the two sinks bring different versions of the same library, so their words are all
/// that is common to them.
pub(super) fn certificate_fault(words: &str, server: &str, ca_key: &str) -> Option<Failure> {
    let words = words.split_once("invalid peer certificate: ")?.1;
    let has = |parts: [&str; 2]| parts.iter().any(|part| words.contains(part));
    Some(if has(["UnknownIssuer", "BadSignature"]) {
        Failure::Refused(format!(
            "the {server}'s certificate is signed by nobody who is trusted: set {ca_key} to the \
             certificate of the authority that signed it"
        ))
    } else if has(["Expired", "certificate expired"]) {
        // The clock may be what is wrong, and may be set right in a moment.
        Failure::Unavailable(format!(
            "the {server}'s certificate has expired: renew it, or set this machine's clock right"
        ))
    } else if has(["NotValidYet", "not valid yet"]) {
        Failure::Unavailable(format!(
            "the {server}'s certificate is not valid yet: set this machine's clock right"
        ))
    } else if has(["NotValidForName", "not valid for name"]) {
        Failure::Refused(format!(
            "the {server}'s certificate is for another name{}; use the right one in the URL",
            names(words)
        ))
    } else {
        Failure::Refused(format!("the {server}'s certificate is refused: {words}"))
    })
}

/// The names that a certificate is for, where the words tell them.
fn names(words: &str) -> String {
    words
        .split_once("only valid for ")
        .map(|(_, names)| {
            let names = names.replace("DnsName(", "").replace(['"', ')'], "");
            format!(", only for {names}")
        })
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_both_versions_are_understood() {
        for (words, begins) in [
            (
                "invalid peer certificate: UnknownIssuer",
                "the broker's certificate is signed by nobody",
            ),
            (
                "invalid peer certificate: BadSignature",
                "the broker's certificate is signed by nobody",
            ),
            (
                "invalid peer certificate: Expired",
                "the broker's certificate has expired",
            ),
            (
                "invalid peer certificate: certificate expired: verification time 2 (UNIX), but \
                 certificate is not valid after 1 (1 seconds ago)",
                "the broker's certificate has expired",
            ),
            (
                "invalid peer certificate: NotValidYet",
                "the broker's certificate is not valid yet",
            ),
            (
                "invalid peer certificate: NotValidForName",
                "the broker's certificate is for another name",
            ),
            (
                "invalid peer certificate: certificate not valid for name \"a\"; certificate is only \
                 valid for DnsName(\"b\")",
                "the broker's certificate is for another name, only for b; use",
            ),
            (
                "invalid peer certificate: BadEncoding",
                "the broker's certificate is refused: BadEncoding",
            ),
        ] {
            let fault = certificate_fault(words, "broker", "mqtt.ca_file");
            let (Failure::Refused(reason) | Failure::Unavailable(reason)) = fault.unwrap();
            assert!(reason.starts_with(begins), "{words}: {reason}");
        }
        assert_eq!(certificate_fault("connection refused", "broker", ""), None);
    }
}
