//! Leaf: the files that the public listener serves to browsers, as they stand in this folder. Must never know who asks for one.
#![doc = include_str!("README.md")]

/// A file and how it is served.
#[derive(Debug)]
pub struct Asset {
    /// Where.
    pub path: &'static str,
    /// Its media type.
    pub content_type: &'static str,
    /// What it holds.
    pub body: &'static [u8],
    /// The hash of that.
    hash: u64,
}

/// The path of the demo page.
pub const DEMO: &str = "/";

const JAVASCRIPT: &str = "text/javascript; charset=utf-8";

static ASSETS: [Asset; 3] = [
    Asset::new(DEMO, "text/html; charset=utf-8", include_bytes!("demo.html")),
    Asset::new("/roost.js", JAVASCRIPT, include_bytes!("roost.js")),
    Asset::new("/roost.d.ts", "application/typescript; charset=utf-8", include_bytes!("roost.d.ts")),
];

/// The file that is served at `path`.
#[must_use]
pub fn find(path: &str) -> Option<&'static Asset> {
    ASSETS.iter().find(|asset| asset.path == path)
}

impl Asset {
    const fn new(path: &'static str, content_type: &'static str, body: &'static [u8]) -> Self {
        Self { path, content_type, body, hash: fnv_1a(body) }
    }

    /// The entity tag: another one when the file is another one.
    #[must_use]
    pub fn tag(&self) -> String {
        format!("\"{:016x}\"", self.hash)
    }

    /// Whether a member of `If-None-Match` names the file as it is; a weak tag is compared as a strong one (RFC 9110 §13.1.2).
    #[must_use]
    pub fn is_tagged(&self, tag: &[u8]) -> bool {
        tag == b"*" || tag.strip_prefix(b"W/").unwrap_or(tag) == self.tag().as_bytes()
    }

    /// What else is said of it to browsers.
    #[must_use]
    pub const fn headers(&self) -> [(&'static str, &'static str); 3] {
        [
            // A browser asks each time whether it still has the right one: a node that is new brings a new client.
            ("Cache-Control", "no-cache"),
            ("X-Content-Type-Options", "nosniff"),
            // What everybody may have every page may read: a module is fetched by these rules.
            ("Access-Control-Allow-Origin", "*"),
        ]
    }
}

/// The FNV-1a hash of 64 bits.
const fn fnv_1a(bytes: &[u8]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325;
    let mut at = 0;
    while at < bytes.len() {
        hash = (hash ^ bytes[at] as u64).wrapping_mul(0x0100_0000_01b3);
        at += 1;
    }
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_known_by_its_tag() {
        let asset = find("/roost.js").unwrap();
        let tag = asset.tag();
        assert!(asset.is_tagged(tag.as_bytes()) && asset.is_tagged(format!("W/{tag}").as_bytes()));
        assert!(asset.is_tagged(b"*") && !asset.is_tagged(b"\"0\"") && !asset.is_tagged(b""));
        assert_ne!(tag, find("/roost.d.ts").unwrap().tag());
        assert!(find("/roost.css").is_none());
    }

    #[test]
    fn the_hash_is_the_published_one() {
        assert_eq!(fnv_1a(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv_1a(b"foobar"), 0x8594_4171_f739_67e8);
    }
}
