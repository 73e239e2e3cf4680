//! Where webhooks may go. A business gives the address, and slotd stands inside the operator's network: without this, a
//! webhook could reach what only machines there may reach.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use url::{Host, Url};

/// Longest URL of an endpoint, in bytes.
const URL_MAX: usize = 2_000;

/// Why a URL is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadUrl(&'static str);

/// Reads the URL of an endpoint. `allow_local` is the operator's word that http and addresses inside the network are good
/// too. Names are looked up only when something is sent.
pub fn check_url(text: &str, allow_local: bool) -> Result<Url, BadUrl> {
    if text.len() > URL_MAX {
        return Err(BadUrl("at most 2000 characters are expected"));
    }
    let url =
        Url::parse(text).map_err(|_| BadUrl("a whole URL is expected, such as https://example.com/hooks/slotd"))?;
    match url.scheme() {
        "https" => {}
        "http" if allow_local => {}
        "http" => return Err(BadUrl("https is expected")),
        _ => return Err(BadUrl("an https URL is expected, such as https://example.com/hooks/slotd")),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(BadUrl("no user name or password is expected in it: notices are signed instead"));
    }
    if url.fragment().is_some() {
        return Err(BadUrl("no fragment is expected in it"));
    }
    let local = match url.host() {
        None => return Err(BadUrl("it names no host")),
        Some(Host::Domain(name)) => {
            let name = name.trim_end_matches('.');
            name == "localhost" || name.ends_with(".localhost") || !name.contains('.')
        }
        Some(Host::Ipv4(address)) => !is_public(address.into()),
        Some(Host::Ipv6(address)) => !is_public(address.into()),
    };
    if local && !allow_local {
        return Err(BadUrl("a host on the public internet is expected"));
    }
    Ok(url)
}

/// Whether an address belongs to the public internet: neither this machine's, nor its network's, nor reserved, nor one that
/// only wraps such an address.
pub(super) fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    // "This network", private ones, loopback, link-local with the clouds' metadata, and carriers' shared ones.
    let inside =
        matches!(a, 0 | 10 | 127) || matches!((a, b), (169, 254) | (172, 16..=31) | (192, 168) | (100, 64..=127));
    // Protocol assignments, documentation, the old 6to4 relay, benchmarks, multicast and what is reserved.
    let special = a >= 224
        || matches!((a, b), (198, 18..=19))
        || matches!((a, b, c), (192, 0, 0 | 2) | (192, 88, 99) | (198, 51, 100) | (203, 0, 113));
    !(inside || special)
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    if let Some(wrapped) = address.to_ipv4_mapped() {
        return is_public_v4(wrapped);
    }
    let [a, b, ..] = address.segments();
    match (a, b) {
        // Only 2000::/3 is handed out; of it: Teredo and protocol assignments, documentation, and 6to4, which wraps IPv4.
        (0x2001, 0..=0x01ff | 0x0db8) | (0x2002, _) | (0x3fff, 0..=0x0fff) => false,
        (0x2000..=0x3fff, _) => true,
        // 64:ff9b::/96 and the like reach IPv4 through a gateway of the network.
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_public_addresses_count_as_public() {
        let inside = [
            "0.0.0.0",
            "10.1.2.3",
            "127.0.0.1",
            "127.9.9.9",
            "100.64.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "192.0.0.8",
            "192.0.2.1",
            "198.18.0.1",
            "198.51.100.7",
            "203.0.113.9",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "64:ff9b::7f00:1",
            "fc00::1",
            "fd12:3456::1",
            "fe80::1",
            "ff02::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "2001::1",
            "::7f00:1",
        ];
        for text in inside {
            assert!(!is_public(text.parse().unwrap()), "{text}");
        }
        let outside = [
            "1.1.1.1",
            "9.9.9.9",
            "100.63.255.255",
            "100.128.0.1",
            "172.15.0.1",
            "172.32.0.1",
            "192.167.0.1",
            "169.253.0.1",
            "2606:4700:4700::1111",
            "2a00:1450:4001::8a",
            "::ffff:1.1.1.1",
        ];
        for text in outside {
            assert!(is_public(text.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn a_url_is_https_to_a_public_host_unless_the_operator_allows_more() {
        for good in ["https://example.com/hook", "https://example.com:8443/a?b=c", "https://9.9.9.9/"] {
            assert!(check_url(good, false).is_ok(), "{good}");
        }
        let local = [
            "http://example.com/",
            "https://localhost/",
            "https://127.0.0.1/",
            "https://[::1]/",
            "https://intranet/",
            "https://169.254.169.254/latest/meta-data",
            "https://0x7f.1/",
            "https://2130706433/",
            "https://a.localhost/",
        ];
        for text in local {
            assert!(check_url(text, false).is_err(), "{text}");
            assert!(check_url(text, true).is_ok(), "{text}");
        }
        let never =
            ["", "example.com/hook", "ftp://example.com/", "https://ada:pw@example.com/", "https://example.com/#a"];
        for text in never {
            assert!(check_url(text, true).is_err(), "{text}");
        }
        assert!(check_url(&format!("https://example.com/{}", "a".repeat(2_000)), true).is_err());
    }
}
