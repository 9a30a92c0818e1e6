//! The query string of `/live`, and parameters and path segments in general. Must never know which channels
//! exist, nor whether a cursor or a token is any good.

use std::borrow::Cow;
use std::fmt;

use percent_encoding::percent_decode_str;

use super::channel_name::is_valid_channel_name;
use super::http::Refusal;
use crate::metrics::cause::Cause;

/// What `GET /live?channel=a&since=CURSOR&token=JWT` asks for.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Query {
    /// Channel names, valid ones, and the cursor to resume each from, in the order given; a name may come
    /// twice.
    pub channels: Vec<(String, Option<String>)>,
    /// The token to sign in with; never to be logged.
    pub token: Option<String>,
}

/// Everything but the token.
impl fmt::Debug for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let token = self.token.as_ref().map(|_| "…");
        f.debug_struct("Query").field("channels", &self.channels).field("token", &token).finish()
    }
}

/// Reads the query of a subscription. `since` pairs with `channel` by position, an empty one means none;
/// other parameters are ignored. How many channels are too many is the caller's to say: a head holds a few
/// thousand at most.
///
/// # Errors
/// 400 for a name that no channel can have, for a number of `since` other than none or that of `channel`, and
/// for a second `token`.
pub fn parse_live_query(query: Option<&str>) -> Result<Query, Refusal> {
    let mut parsed = Query::default();
    let mut cursors = Vec::new();
    for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
        match &*name {
            "channel" if is_valid_channel_name(&value) => parsed.channels.push((value.into_owned(), None)),
            "channel" => return Err(bad_channel(parsed.channels.len() + 1)),
            "since" => cursors.push(value.into_owned()),
            "token" if parsed.token.is_some() => {
                return Err(Refusal::bad_request("`token` came more than once: send it once"));
            }
            "token" => parsed.token = Some(value.into_owned()),
            _ => {}
        }
    }
    if !cursors.is_empty() && cursors.len() != parsed.channels.len() {
        let message = format!(
            "{} `since` for {} `channel`: send one for each, in the same order, empty where there is none",
            cursors.len(),
            parsed.channels.len()
        );
        return Err(Refusal::bad_request(message).because(Cause::Channels));
    }
    for ((_, since), cursor) in parsed.channels.iter_mut().zip(cursors) {
        *since = Some(cursor).filter(|cursor| !cursor.is_empty());
    }
    Ok(parsed)
}

fn bad_channel(position: usize) -> Refusal {
    let message = format!(
        "`channel` number {position} is no channel name: send 1 to 164 of `A-Z a-z 0-9 _ - = @ , . ; : /`"
    );
    Refusal::new(400, "bad_channel", message).because(Cause::Channels)
}

/// The value of the first parameter called `name`, decoded.
pub fn parameter<'q>(query: Option<&'q str>, name: &str) -> Option<Cow<'q, str>> {
    form_urlencoded::parse(query?.as_bytes()).find(|(key, _)| key == name).map(|(_, value)| value)
}

/// What a part of a path means, such as the channel in `/channels/a%2Fb`; `None` where it is not UTF-8.
/// Unlike in a query, a plus sign is a plus sign.
pub fn decode_path(part: &str) -> Option<Cow<'_, str>> {
    percent_decode_str(part).decode_utf8().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    type Pairs = Vec<(String, Option<String>)>;

    fn channels(query: &str) -> Result<Pairs, (u16, &'static str)> {
        parse_live_query(Some(query))
            .map(|query| query.channels)
            .map_err(|refusal| (refusal.status, refusal.code))
    }

    fn pair(name: &str, since: Option<&str>) -> (String, Option<String>) {
        (name.to_owned(), since.map(str::to_owned))
    }

    #[test]
    fn no_query_asks_for_nothing() {
        assert_eq!(parse_live_query(None), Ok(Query::default()));
        assert_eq!(channels(""), Ok(vec![]));
        assert_eq!(channels("&&=&other=1&channels=x"), Ok(vec![]));
    }

    #[test]
    fn cursors_pair_with_channels_by_position() {
        assert_eq!(channels("channel=a&channel=b"), Ok(vec![pair("a", None), pair("b", None)]));
        assert_eq!(channels("channel=a&since=E-1"), Ok(vec![pair("a", Some("E-1"))]));
        let both = vec![pair("a", None), pair("b", Some("E-2"))];
        assert_eq!(channels("channel=a&channel=b&since=&since=E-2"), Ok(both.clone()));
        assert_eq!(channels("since&since=E-2&channel=a&x=y&channel=b"), Ok(both));
    }

    #[test]
    fn another_number_of_cursors_is_refused() {
        for query in ["since=E-1", "since=", "channel=a&channel=b&since=E-1", "channel=a&since=&since="] {
            assert_eq!(channels(query), Err((400, "bad_request")), "{query}");
        }
    }

    #[test]
    fn names_are_decoded_and_must_be_valid() {
        assert_eq!(channels("channel=a%2Fb%3Ac"), Ok(vec![pair("a/b:c", None)]));
        for query in [
            "channel=",
            "channel",
            "channel=a+b",
            "channel=%00",
            "channel=%ff",
            "channel=a%",
            "channel=%c3%bc",
        ] {
            assert_eq!(channels(query), Err((400, "bad_channel")), "{query}");
        }
        let (longest, longer) = ("a".repeat(164), "a".repeat(165));
        assert_eq!(channels(&format!("channel={longest}")), Ok(vec![pair(&longest, None)]));
        assert_eq!(channels(&format!("channel={longer}")), Err((400, "bad_channel")));
    }

    #[test]
    fn a_refused_name_is_told_by_its_position_and_not_repeated() {
        let refusal = parse_live_query(Some("channel=a&channel=%0d%0aX")).unwrap_err();
        assert!(refusal.message.starts_with("`channel` number 2 "), "{}", refusal.message);
        assert!(!refusal.message.contains(['\r', '\n', 'X']));
    }

    #[test]
    fn the_token_comes_once_and_is_never_printed() {
        let query = parse_live_query(Some("token=a.b.c&channel=x")).unwrap();
        assert_eq!(query.token.as_deref(), Some("a.b.c"));
        assert!(!format!("{query:?}").contains("a.b.c"));
        assert_eq!(parse_live_query(Some("token=a&token=a")).unwrap_err().status, 400);
    }

    #[test]
    fn a_parameter_is_found_by_its_decoded_name() {
        assert_eq!(parameter(Some("a=1&pre%66ix=x+y%2Fz&prefix=2"), "prefix").as_deref(), Some("x y/z"));
        assert_eq!(parameter(Some("prefix"), "prefix").as_deref(), Some(""));
        assert_eq!(parameter(Some("a=prefix"), "prefix"), None);
        assert_eq!(parameter(None, "prefix"), None);
    }

    #[test]
    fn a_path_keeps_its_plus_signs() {
        assert_eq!(decode_path("a%2Fb+c/d").as_deref(), Some("a/b+c/d"));
        assert_eq!(decode_path("a%2").as_deref(), Some("a%2"));
        assert_eq!(decode_path("%ff"), None);
    }
}
