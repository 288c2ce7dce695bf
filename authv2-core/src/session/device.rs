//! What a session runs on, guessed from its User-Agent: for the list of sessions that a user looks through.

use serde::{Serialize, Serializer};

pub use crate::store::DeviceKind;

/// Octets of a User-Agent that are looked at; real ones have under 300.
const MAX_LENGTH: usize = 512;

/// What a User-Agent (RFC 9110 section 10.1.5) says of the device: names without versions.
///
/// The client writes it, so it is a hint for people and for statistics, never a reason to let anybody in. The names come
/// from the tables here, never from the text, so that they are safe as labels. In JSON what is not known is `"unknown"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, utoipa::ToSchema)]
pub struct Device {
    /// The operating system.
    #[serde(serialize_with = "or_unknown")]
    #[schema(value_type = String, example = "macOS")]
    pub os: Option<&'static str>,
    /// The browser, or the HTTP library.
    #[serde(serialize_with = "or_unknown")]
    #[schema(value_type = String, example = "Firefox")]
    pub browser: Option<&'static str>,
    /// The kind of device.
    pub kind: DeviceKind,
}

impl Device {
    /// As people call it.
    pub(crate) fn title(&self) -> String {
        match (self.browser, self.os) {
            (Some(browser), Some(os)) => format!("{browser} on {os}"),
            (Some(name), None) | (None, Some(name)) => name.to_owned(),
            (None, None) => "unknown".to_owned(),
        }
    }

    /// As devices are compared from one sign-in to the next.
    pub(crate) fn name(&self) -> String {
        let (os, browser) = (self.os.unwrap_or("unknown"), self.browser.unwrap_or("unknown"));
        format!("{os}/{browser}/{}", self.kind.as_str())
    }
}

fn or_unknown<S: Serializer>(name: &Option<&'static str>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(name.unwrap_or("unknown"))
}

/// Marks of a program that crawls, checks or previews. Looked for in lower case.
const BOTS: &[&str] = &[
    "bot",
    "crawl",
    "spider",
    "slurp",
    "facebookexternalhit",
    "preview",
    "headlesschrome",
    "lighthouse",
    "pingdom",
    "uptime",
    "monitor",
    "scanner",
];

/// HTTP libraries and command lines: they act for somebody, and are of no kind. They stand at the start.
const LIBRARIES: &[(&str, &str)] = &[
    ("curl/", "curl"),
    ("wget/", "Wget"),
    ("python-requests/", "Python"),
    ("python-urllib/", "Python"),
    ("python-httpx/", "Python"),
    ("python/", "Python"),
    ("aiohttp/", "Python"),
    ("okhttp/", "OkHttp"),
    ("go-http-client/", "Go"),
    ("java/", "Java"),
    ("java-http-client/", "Java"),
    ("apache-httpclient/", "Java"),
    ("node-fetch/", "Node.js"),
    ("node", "Node.js"),
    ("undici", "Node.js"),
    ("axios/", "Node.js"),
    ("dart/", "Dart"),
    ("ruby", "Ruby"),
    ("php", "PHP"),
    ("guzzlehttp/", "PHP"),
    ("reqwest/", "Rust"),
    ("hyper/", "Rust"),
    ("postmanruntime/", "Postman"),
    ("insomnia/", "Insomnia"),
    ("httpie/", "HTTPie"),
    ("grpc-", "gRPC"),
];

/// Marks of browsers, the particular before what it pretends to be: all but Firefox say Safari, most say Chrome.
const BROWSERS: &[(&str, &str)] = &[
    ("edg/", "Edge"),
    ("edga/", "Edge"),
    ("edgios/", "Edge"),
    ("edge/", "Edge"),
    ("opr/", "Opera"),
    ("opt/", "Opera"),
    ("opios/", "Opera"),
    ("opera", "Opera"),
    ("samsungbrowser/", "Samsung Internet"),
    ("vivaldi/", "Vivaldi"),
    ("yabrowser/", "Yandex Browser"),
    ("duckduckgo/", "DuckDuckGo"),
    ("ddg/", "DuckDuckGo"),
    ("firefox/", "Firefox"),
    ("fxios/", "Firefox"),
    ("crios/", "Chrome"),
    ("chromium/", "Chromium"),
    ("chrome/", "Chrome"),
    ("trident/", "Internet Explorer"),
    ("msie ", "Internet Explorer"),
    ("safari/", "Safari"),
];

/// Marks of operating systems, the particular before what it pretends to be.
const SYSTEMS: &[(&str, &str)] = &[
    ("windows", "Windows"),
    ("ipad", "iPadOS"),
    ("iphone", "iOS"),
    ("ipod", "iOS"),
    ("cros ", "ChromeOS"),
    ("android", "Android"),
    ("macintosh", "macOS"),
    ("mac os x", "macOS"),
    ("linux", "Linux"),
    ("freebsd", "FreeBSD"),
    ("openbsd", "OpenBSD"),
];

impl Device {
    /// Reads a User-Agent. An empty or unknown one gives a device of which nothing is known.
    #[must_use]
    pub fn of(user_agent: &str) -> Self {
        let bounded = user_agent.get(..user_agent.floor_char_boundary(MAX_LENGTH)).unwrap_or_default();
        let agent = bounded.to_ascii_lowercase();
        let os = mark_in(&agent, SYSTEMS);
        let library = LIBRARIES.iter().find(|(start, _)| agent.starts_with(start)).map(|(_, name)| *name);
        let browser = library.or_else(|| mark_in(&agent, BROWSERS));
        let kind = if library.is_some() { DeviceKind::Other } else { kind_of(&agent, os) };
        Self { os, browser, kind }
    }
}

fn mark_in(agent: &str, table: &[(&str, &'static str)]) -> Option<&'static str> {
    table.iter().find(|(mark, _)| agent.contains(mark)).map(|(_, name)| *name)
}

/// An iPad that asks for desktop sites calls itself a Macintosh, and cannot be told from one by this header.
fn kind_of(agent: &str, os: Option<&str>) -> DeviceKind {
    let mobile = agent.contains("mobile");
    // CUBOT makes phones.
    if BOTS.iter().any(|mark| agent.replace("cubot", "").contains(mark)) {
        return DeviceKind::Bot;
    }
    match os {
        Some("iOS") => DeviceKind::Mobile,
        Some("iPadOS") => DeviceKind::Tablet,
        // Chrome says Mobile on phones alone, Firefox says which.
        Some("Android") if agent.contains("tablet") || !mobile => DeviceKind::Tablet,
        Some("Android") => DeviceKind::Mobile,
        Some(_) if mobile => DeviceKind::Mobile,
        Some(_) => DeviceKind::Desktop,
        None => DeviceKind::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::{DeviceKind::*, *};

    #[test]
    fn recognises_real_user_agents() {
        for (agent, os, browser, kind) in [
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36",
                "Windows",
                "Chrome",
                Desktop,
            ),
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36 Edg/126.0.2592.68",
                "Windows",
                "Edge",
                Desktop,
            ),
            (
                "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Safari/605.1.15",
                "macOS",
                "Safari",
                Desktop,
            ),
            (
                "Mozilla/5.0 (Macintosh; Intel Mac OS X 10.15; rv:127.0) Gecko/20100101 Firefox/127.0",
                "macOS",
                "Firefox",
                Desktop,
            ),
            (
                "Mozilla/5.0 (X11; Ubuntu; Linux x86_64; rv:127.0) Gecko/20100101 Firefox/127.0",
                "Linux",
                "Firefox",
                Desktop,
            ),
            (
                "Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36",
                "ChromeOS",
                "Chrome",
                Desktop,
            ),
            (
                "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/125.0.0.0 Safari/537.36 OPR/111.0.0.0",
                "Linux",
                "Opera",
                Desktop,
            ),
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1",
                "iOS",
                "Safari",
                Mobile,
            ),
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) CriOS/126.0.6478.54 Mobile/15E148 Safari/604.1",
                "iOS",
                "Chrome",
                Mobile,
            ),
            (
                "Mozilla/5.0 (iPad; CPU OS 16_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) FxiOS/127.0 Mobile/15E148 Safari/605.1.15",
                "iPadOS",
                "Firefox",
                Tablet,
            ),
            (
                "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Mobile Safari/537.36",
                "Android",
                "Chrome",
                Mobile,
            ),
            (
                "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36",
                "Android",
                "Chrome",
                Tablet,
            ),
            (
                "Mozilla/5.0 (Linux; Android 14; SAMSUNG SM-S918B) AppleWebKit/537.36 (KHTML, like Gecko) SamsungBrowser/25.0 Chrome/121.0.0.0 Mobile Safari/537.36",
                "Android",
                "Samsung Internet",
                Mobile,
            ),
            ("Mozilla/5.0 (Android 14; Mobile; rv:127.0) Gecko/127.0 Firefox/127.0", "Android", "Firefox", Mobile),
            ("Mozilla/5.0 (Android 14; Tablet; rv:127.0) Gecko/127.0 Firefox/127.0", "Android", "Firefox", Tablet),
            (
                "Mozilla/5.0 (Linux; Android 10; CUBOT X30) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Mobile Safari/537.36",
                "Android",
                "Chrome",
                Mobile,
            ),
            (
                "Mozilla/5.0 (Windows NT 10.0; WOW64; Trident/7.0; rv:11.0) like Gecko",
                "Windows",
                "Internet Explorer",
                Desktop,
            ),
            ("Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", "unknown", "unknown", Bot),
            (
                "Mozilla/5.0 (Linux; Android 6.0.1; Nexus 5X Build/MMB29P) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Mobile Safari/537.36 (compatible; bingbot/2.0)",
                "Android",
                "Chrome",
                Bot,
            ),
            ("curl/8.5.0", "unknown", "curl", Other),
            ("Wget/1.21.4 (linux-gnu)", "Linux", "Wget", Other),
            ("python-requests/2.32.3", "unknown", "Python", Other),
            ("okhttp/4.12.0", "unknown", "OkHttp", Other),
            ("Go-http-client/1.1", "unknown", "Go", Other),
            ("", "unknown", "unknown", Other),
            ("something else entirely", "unknown", "unknown", Other),
        ] {
            let device = serde_json::to_value(Device::of(agent)).unwrap();
            assert_eq!(device, serde_json::json!({"os": os, "browser": browser, "kind": kind.as_str()}), "{agent}");
        }
    }

    #[test]
    fn looks_at_a_bounded_part_and_cuts_between_characters() {
        let agent = format!("{}é curl Firefox/1", "é".repeat(255) + "x");
        assert_eq!(Device::of(&agent), Device { os: None, browser: None, kind: Other });
        assert_eq!(Device::of(&"é".repeat(100_000)).kind, Other);
    }
}
