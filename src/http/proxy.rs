//! The proxy that the environment names for an address: `http_proxy`, `https_proxy`, `all_proxy` and
//! `no_proxy`, in capitals or not. This machine is never asked for through a proxy.

use std::fmt;
use std::net::IpAddr;

use reqwest::Url;
use url::Host;

/// A proxy in use.
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    /// With its credentials.
    url: Url,
    variable: &'static str,
}

impl Proxy {
    /// The proxy that this process's environment names for an address.
    pub fn of_environment(address: &Url) -> Option<Self> {
        Self::find(address, |name| std::env::var(name).ok())
    }

    /// The proxy for an address; none for this machine, for what `no_proxy` lists, and where the
    /// variable holds an address of another kind than `http://` and `https://`.
    pub fn find(address: &Url, variable: impl Fn(&str) -> Option<String>) -> Option<Self> {
        let get = |name| variable(name).filter(|text| !text.trim().is_empty());
        let host = address.host()?;
        let excepted = get("NO_PROXY").or_else(|| get("no_proxy"));
        if is_this_machine(&host) || excepted.is_some_and(|list| is_listed(&list, address)) {
            return None;
        }
        // Of a program that a web server started, a client's header `Proxy` sets HTTP_PROXY.
        let is_cgi = variable("REQUEST_METHOD").is_some();
        let names: &[&'static str] = match address.scheme() {
            "http" if is_cgi => &["http_proxy", "ALL_PROXY", "all_proxy"],
            "http" => &["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"],
            _ => &["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"],
        };
        names.iter().find_map(|name| {
            let url = parse(get(name)?.trim())?;
            Some(Self {
                url,
                variable: name,
            })
        })
    }

    /// Names the proxy in what went wrong: it may be what is at fault.
    pub fn named(proxy: Option<&Self>, reason: String) -> String {
        match proxy {
            Some(proxy) if !reason.contains(&proxy.to_string()) => {
                format!("{reason}, through {proxy}")
            }
            _ => reason,
        }
    }

    /// The host that is connected to.
    pub fn host(&self) -> &str {
        self.url.host_str().unwrap_or_default()
    }

    /// Its port.
    pub fn port(&self) -> Option<u16> {
        self.url.port_or_known_default()
    }

    /// Says what to do about a proxy that lets nobody through who has no login.
    pub fn wants_login(&self) -> String {
        format!("{self} wants a login, write it as http://USER:PASSWORD@HOST:PORT")
    }

    /// The rule that sends everything through it.
    pub(super) fn intercept(&self) -> reqwest::Proxy {
        let url = self.url.clone();
        reqwest::Proxy::custom(move |_| Some(url.clone()))
    }
}

/// Without credentials: `the proxy http://proxy:3128 of http_proxy`.
impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { url, variable } = self;
        write!(f, "the proxy {}://{}", url.scheme(), self.host())?;
        if let Some(port) = url.port() {
            write!(f, ":{port}")?;
        }
        write!(f, " of {variable}")
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

fn parse(text: &str) -> Option<Url> {
    let url = if text.contains("://") {
        Url::parse(text)
    } else {
        Url::parse(&format!("http://{text}"))
    };
    let is_usable = |url: &Url| matches!(url.scheme(), "http" | "https") && url.has_host();
    url.ok().filter(is_usable)
}

fn is_this_machine(host: &Host<&str>) -> bool {
    match host {
        Host::Domain(name) => {
            let name = name.trim_end_matches('.').to_ascii_lowercase();
            name == "localhost" || name.ends_with(".localhost")
        }
        Host::Ipv4(address) => address.is_loopback() || address.is_unspecified(),
        Host::Ipv6(address) => {
            let address = IpAddr::from(*address).to_canonical();
            address.is_loopback() || address.is_unspecified()
        }
    }
}

/// Entries are names, which stand for all below them as well, addresses, networks (`10.0.0.0/8`), each
/// with a port if only that is meant, or `*`.
fn is_listed(list: &str, address: &Url) -> bool {
    let entries = list.split([',', ' ']).filter(|entry| !entry.is_empty());
    entries.into_iter().any(|entry| {
        if entry == "*" {
            return true;
        }
        let (host, port) = split_port(entry);
        let is_port = port.is_none_or(|port| address.port_or_known_default() == Some(port));
        is_port
            && match address.host() {
                Some(Host::Domain(name)) => is_below(name, host),
                Some(Host::Ipv4(ip)) => is_within(ip.into(), host),
                Some(Host::Ipv6(ip)) => is_within(ip.into(), host),
                None => false,
            }
    })
}

/// `host:8086` and `[::1]:8086`; the colons of a bare IPv6 address are its own.
fn split_port(entry: &str) -> (&str, Option<u16>) {
    let split = match entry.rsplit_once(':') {
        Some((host, _)) if host.contains(':') && !host.ends_with(']') => None,
        split => split,
    };
    match split.map(|(host, port)| (host, port.parse().ok())) {
        Some((host, Some(port))) => (host, Some(port)),
        _ => (entry, None),
    }
}

fn is_below(name: &str, domain: &str) -> bool {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    let domain = domain.strip_prefix('*').unwrap_or(domain);
    let domain = domain.trim_matches('.').to_ascii_lowercase();
    !domain.is_empty()
        && name
            .strip_suffix(&domain)
            .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

fn is_within(address: IpAddr, entry: &str) -> bool {
    let (network, length) = match entry.split_once('/') {
        Some((network, length)) => (network, Some(length)),
        None => (entry, None),
    };
    let network = network.trim_matches(['[', ']']).parse::<IpAddr>();
    let bits = |address: IpAddr| match address {
        IpAddr::V4(address) => (u128::from(address.to_bits()) << 96, 32),
        IpAddr::V6(address) => (address.to_bits(), 128),
    };
    let Ok(network) = network else { return false };
    let ((address, width), (network, network_width)) =
        (bits(address.to_canonical()), bits(network.to_canonical()));
    let length: Option<u32> = match length {
        Some(length) => length.parse().ok().filter(|length| *length <= width),
        None => Some(width),
    };
    let mask = |length| u128::MAX.checked_shl(128 - length).unwrap_or(0);
    width == network_width && length.is_some_and(|length| (address ^ network) & mask(length) == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(address: &str, variables: &[(&str, &str)]) -> Option<String> {
        let address = Url::parse(address).unwrap();
        let variable = |name: &str| {
            let found = variables.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        Proxy::find(&address, variable).map(|proxy| proxy.to_string())
    }

    #[test]
    fn this_machine_is_never_asked_for_through_a_proxy() {
        let variables = [("http_proxy", "http://proxy:1"), ("ALL_PROXY", "proxy:2")];
        for address in [
            "http://localhost:8086",
            "http://LOCALHOST",
            "http://localhost.",
            "http://db.localhost:1",
            "http://127.0.0.1",
            "http://127.1.2.3:8086",
            "http://0.0.0.0:8086",
            "https://[::1]:8086",
            "http://[::ffff:127.0.0.1]:8086",
            "http://[::]",
        ] {
            assert_eq!(find(address, &variables), None, "{address}");
        }
        for address in [
            "http://128.0.0.1",
            "http://localhost.example",
            "http://[::2]",
        ] {
            assert!(find(address, &variables).is_some(), "{address}");
        }
    }

    #[test]
    fn the_variable_is_the_one_for_the_scheme() {
        let all = [
            ("HTTP_PROXY", "http://a:1"),
            ("http_proxy", "http://b:2"),
            ("https_proxy", "https://user:s3cret@c"),
            ("ALL_PROXY", "d:4"),
        ];
        let found = |address, variables: &[_]| find(address, variables).unwrap_or_default();
        assert_eq!(
            found("http://db", &all),
            "the proxy http://a:1 of HTTP_PROXY"
        );
        assert_eq!(
            found("http://db", &all[1..]),
            "the proxy http://b:2 of http_proxy"
        );
        assert_eq!(
            found("https://db", &all),
            "the proxy https://c of https_proxy"
        );
        assert_eq!(
            found("http://db", &all[2..]),
            "the proxy http://d:4 of ALL_PROXY"
        );
        assert_eq!(
            found("http://db", &[("HTTP_PROXY", " "), ("all_proxy", "e")]),
            "the proxy http://e of all_proxy"
        );
        assert_eq!(find("http://db", &all[2..3]), None);
        assert_eq!(find("http://db", &[("http_proxy", "socks5://a:1")]), None);
        let cgi = [("REQUEST_METHOD", "GET"), ("HTTP_PROXY", "http://evil:1")];
        assert_eq!(find("http://db", &cgi), None);
    }

    #[test]
    fn what_no_proxy_lists_is_asked_directly() {
        let is_proxied =
            |address, list| find(address, &[("http_proxy", "p"), ("no_proxy", list)]).is_some();
        for (address, list) in [
            ("http://db.example.com", "other, example.com"),
            ("http://db.example.com", ".example.com"),
            ("http://db.example.com", "*.EXAMPLE.com"),
            ("http://example.com", ".example.com"),
            ("http://DB.example.com:8086", "db.example.com:8086"),
            ("http://anything", "*"),
            ("http://10.1.2.3", "10.0.0.0/8"),
            ("http://10.1.2.3", "10.1.2.3"),
            ("http://10.1.2.3:8086", "10.1.2.3:8086"),
            ("http://[fd00::5]", "fd00::/8"),
            ("http://[fd00::5]:8086", "[fd00::5]:8086"),
            ("http://[fd00::5]", "fd00::5"),
            ("http://10.1.2.3", "0.0.0.0/0"),
        ] {
            assert!(!is_proxied(address, list), "{address} {list}");
        }
        for (address, list) in [
            ("http://notexample.com", "example.com"),
            ("http://example.com", "db.example.com"),
            ("http://db.example.com:8087", "db.example.com:8086"),
            ("http://11.1.2.3", "10.0.0.0/8"),
            ("http://10.1.2.3", "10.0.0.0/99"),
            ("http://[fd00::5]", "0.0.0.0/0"),
            ("http://db", ", ,."),
        ] {
            assert!(is_proxied(address, list), "{address} {list}");
        }
        let both = [
            ("http_proxy", "p"),
            ("NO_PROXY", "db"),
            ("no_proxy", "other"),
        ];
        assert_eq!(find("http://db", &both), None);
    }
}
