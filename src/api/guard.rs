//! Who may ask: whoever has the token, and never a page of another site in somebody's browser.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use secrecy::{ExposeSecret, SecretString};

use super::refusal::Refusal;

/// Answered for everybody: it says nothing but that the process lives.
pub(super) const HEALTH: &str = "/healthz";

/// The rules of one server.
#[derive(Debug)]
pub(super) struct Guard {
    token: Option<SecretString>,
    /// Only this machine can reach the server, so a request that names another host was led here by
    /// a name server that lies (DNS rebinding).
    is_loopback: bool,
    allow_send: bool,
}

impl Guard {
    pub(super) fn new(address: SocketAddr, token: Option<SecretString>, allow_send: bool) -> Self {
        Self {
            token,
            is_loopback: address.ip().is_loopback(),
            allow_send,
        }
    }

    /// Of a socket in the file system, whose mode says who may ask.
    pub(super) fn of_socket() -> Self {
        Self {
            token: None,
            is_loopback: true,
            allow_send: true,
        }
    }

    /// Whether who may ask may also send texts to sources: without a token only where that is allowed.
    pub(super) fn may_send(&self) -> bool {
        self.token.is_some() || self.allow_send
    }

    fn check(
        &self,
        path: &str,
        authority: Option<&str>,
        headers: &HeaderMap,
    ) -> Result<(), Refusal> {
        if self.is_loopback && !authority.is_none_or(names_this_machine) {
            return Err(Refusal::new(
                StatusCode::FORBIDDEN,
                "the Host header must name this machine: localhost, 127.0.0.1 or [::1]",
            ));
        }
        if is_cross_site(authority, headers) {
            return Err(Refusal::new(
                StatusCode::FORBIDDEN,
                "pages of other sites may not use this API",
            ));
        }
        match &self.token {
            Some(token) if path != HEALTH && !carries(headers, token) => Err(Refusal::new(
                StatusCode::UNAUTHORIZED,
                "this gateway wants its token: send the header Authorization: Bearer TOKEN with \
                 the value of api.token",
            )),
            _ => Ok(()),
        }
    }
}

/// The middleware.
pub(super) async fn check(
    State(guard): State<Arc<Guard>>,
    request: Request,
    next: Next,
) -> Response {
    let headers = request.headers();
    let host = headers.get(header::HOST).map(|host| host.to_str());
    let authority = match (request.uri().authority(), host) {
        (Some(authority), _) => Some(authority.as_str()),
        (None, Some(host)) => Some(host.unwrap_or_default()),
        (None, None) => None,
    };
    match guard.check(request.uri().path(), authority, headers) {
        Ok(()) => next.run(request).await,
        Err(failure) => failure.into_response(),
    }
}

fn names_this_machine(authority: &str) -> bool {
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    };
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Browsers say where a request comes from; other programs send none of these headers.
fn is_cross_site(authority: Option<&str>, headers: &HeaderMap) -> bool {
    let site = headers.get("sec-fetch-site");
    let from_elsewhere = site.is_some_and(|site| site != "same-origin" && site != "none");
    let origin = headers.get(header::ORIGIN);
    let own = authority.map(|authority| format!("http://{authority}"));
    let of_elsewhere = origin.is_some_and(|origin| {
        own.is_none_or(|own| !origin.as_bytes().eq_ignore_ascii_case(own.as_bytes()))
    });
    from_elsewhere || of_elsewhere
}

fn carries(headers: &HeaderMap, token: &SecretString) -> bool {
    let Some(value) = headers.get(header::AUTHORIZATION) else {
        return false;
    };
    let Some((scheme, given)) = value.to_str().ok().and_then(|value| value.split_once(' ')) else {
        return false;
    };
    scheme.eq_ignore_ascii_case("bearer")
        && is_equal(given.trim().as_bytes(), token.expose_secret().as_bytes())
}

/// Takes as long for a wrong token as for the right one, whichever byte is wrong.
fn is_equal(given: &[u8], token: &[u8]) -> bool {
    let differences = given.iter().zip(token.iter().cycle());
    let differs = differences.fold(0, |differs, (one, other)| differs | (one ^ other));
    std::hint::black_box(differs) == 0 && given.len() == token.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(guard: &Guard, path: &str, headers: &[(&'static str, &str)]) -> u16 {
        let headers: HeaderMap = headers
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
            .collect();
        let authority = headers.get("host").map(|host| host.to_str().unwrap());
        match guard.check(path, authority, &headers) {
            Ok(()) => 200,
            Err(failure) => failure.into_response().status().as_u16(),
        }
    }

    #[test]
    fn nothing_is_sent_for_whoever_has_no_token_unless_that_is_allowed() {
        let guard = |token: Option<&str>, allow_send| {
            let token = token.map(Into::into);
            Guard::new("127.0.0.1:8787".parse().unwrap(), token, allow_send)
        };
        for (token, allow_send, may_send) in [
            (None, false, false),
            (None, true, true),
            (Some("s"), false, true),
        ] {
            assert_eq!(guard(token, allow_send).may_send(), may_send);
        }
    }

    #[test]
    fn a_loopback_server_answers_to_its_own_names_alone() {
        let guard = Guard::new("127.0.0.1:8787".parse().unwrap(), None, false);
        for (host, expected) in [
            ("localhost:8787", 200),
            ("LOCALHOST", 200),
            ("127.0.0.1:8787", 200),
            ("127.1.2.3", 200),
            ("[::1]:8787", 200),
            ("[::1]", 200),
            ("evil.example:8787", 403),
            ("localhost.evil.example", 403),
            ("127.0.0.1.evil.example:8787", 403),
            ("192.168.0.7:8787", 403),
            ("", 403),
        ] {
            assert_eq!(
                status(&guard, "/metrics", &[("host", host)]),
                expected,
                "{host}"
            );
        }
        assert_eq!(status(&guard, "/metrics", &[]), 200);
        let open = Guard::new("0.0.0.0:1".parse().unwrap(), Some("s".into()), false);
        let headers = [("host", "gateway.lan"), ("authorization", "Bearer s")];
        assert_eq!(status(&open, "/metrics", &headers), 200);
    }

    #[test]
    fn pages_of_other_sites_are_turned_away() {
        let guard = Guard::new("127.0.0.1:8787".parse().unwrap(), None, false);
        for (name, value, expected) in [
            ("origin", "http://localhost:8787", 200),
            ("origin", "http://localhost:8788", 403),
            ("origin", "https://localhost:8787", 403),
            ("origin", "http://evil.example", 403),
            ("origin", "null", 403),
            ("sec-fetch-site", "none", 200),
            ("sec-fetch-site", "same-origin", 200),
            ("sec-fetch-site", "same-site", 403),
            ("sec-fetch-site", "cross-site", 403),
        ] {
            let headers = [("host", "localhost:8787"), (name, value)];
            assert_eq!(status(&guard, "/", &headers), expected, "{name}: {value}");
        }
    }

    #[test]
    fn all_but_health_wants_the_token() {
        let guard = Guard::new("127.0.0.1:1".parse().unwrap(), Some("s3cret".into()), false);
        for (value, expected) in [
            ("Bearer s3cret", 200),
            ("bearer  s3cret", 200),
            ("Bearer s3cre", 401),
            ("Bearer s3crets", 401),
            ("Bearer s3crets3cret", 401),
            ("Bearer ", 401),
            ("Basic s3cret", 401),
            ("s3cret", 401),
        ] {
            let headers = [("authorization", value)];
            assert_eq!(status(&guard, "/metrics", &headers), expected, "{value}");
        }
        assert_eq!(status(&guard, "/readyz", &[]), 401);
        assert_eq!(status(&guard, HEALTH, &[]), 200);
        assert!(!format!("{guard:?}").contains("s3cret"));
    }
}
