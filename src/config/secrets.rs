//! Keys of tokens, from flags, environment and file: channels that need one, and secrets that nobody is shown.

use super::Auth;
use super::tests::{complaint, load_from};

#[test]
fn channels_that_ask_for_tokens_need_a_key() {
    let file = "[channels.\"a:\"]\nauth = \"token\"";
    let refused = "roost.toml:2:1: channels.\"a:\".auth = \"token\": needs a key that tokens are signed with";
    let text = complaint(&[], &[], file);
    assert!(text.starts_with(refused), "{text}");
    let config = load_from(&["--token-key", "rs256:@/a/key.pem"], &[], file).unwrap().config;
    assert_eq!(config.policies.for_channel("a:1").auth, Auth::Token);
    let shown: Vec<_> = config.token_keys.iter().map(ToString::to_string).collect();
    assert_eq!(shown, ["rs256:@/a/key.pem"]);
}

#[test]
fn a_secret_is_shown_to_nobody_wherever_it_comes_from() {
    let secret = "hs265:hunter2";
    let file = format!("token_key = [\"{secret}\"]");
    for text in [
        complaint(&["--token-key", secret], &[], ""),
        complaint(&[], &[("ROOST_TOKEN_KEY", secret)], ""),
        complaint(&[], &[], &file),
    ] {
        assert!(text.contains("did you mean `hs256`?") && !text.contains("hunter2"), "{text}");
    }
    for (args, env, file) in [
        (&["--token-key", "hs256:hunter2"][..], &[][..], ""),
        (&[], &[("ROOST_TOKEN_KEY", "hs256:hunter2")], ""),
        (&[], &[], "token_key = [\"hs256:hunter2\"]"),
    ] {
        let loaded = load_from(args, env, file).unwrap();
        let printed = loaded.settings.to_string();
        assert!(printed.contains("token_key = [\"hs256:…\"]") && !printed.contains("hunter2"), "{printed}");
        assert!(!format!("{loaded:?}").contains("hunter2"), "{loaded:?}");
    }
}

#[test]
fn a_secret_in_the_wrong_place_of_a_file_is_not_shown_either() {
    for file in [
        "token_key = \"hs256:hunter2",
        "token_key = [\"hs256:hunter2\"",
        "token_key = [[\"hs256:hunter2\"]]",
        "token_key = [\"hs256:hunter2\", 5]",
        "token_key = { key = \"hs256:hunter2\" }",
        "token_key = [\"hs256:hunter2\"]\ntoken_key = []",
        "token_keys = \"hs256:hunter2\"",
        "[token_key]\nhs256 = \"hunter2\"",
        "[channels.a]\ntoken_key = \"hs256:hunter2\"",
    ] {
        let text = complaint(&[], &[], file);
        assert!(text.starts_with("roost.toml:") && !text.contains("hunter2"), "{file}\n{text}");
    }
    let one = load_from(&[], &[], "token_key = \"hs256:hunter2\"").unwrap();
    assert_eq!(one.config.token_keys.len(), 1, "one key need not be a list");
}
