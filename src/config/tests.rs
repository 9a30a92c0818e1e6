//! The whole way from flags, environment and file to a configuration, nothing of the process touched.

use super::*;
use crate::capacity;

pub(super) fn load_from(args: &[&str], env: &[(&str, &str)], file: &str) -> Result<Loaded, ConfigError> {
    load_as(args, env, "roost.toml", file)
}

/// Loads with `file` as the text of `name`, named by `--config` unless the environment does.
fn load_as(args: &[&str], env: &[(&str, &str)], name: &str, file: &str) -> Result<Loaded, ConfigError> {
    let mut args: Vec<&str> = args.to_vec();
    if !env.iter().any(|(variable, _)| *variable == "ROOST_CONFIG") {
        args.extend(["--config", name]);
    }
    let matches = command().no_binary_name(true).try_get_matches_from(args)?;
    load(&matches, env.iter().map(|(name, value)| (name.into(), value.into())), &Host::default(), |path| {
        assert_eq!(path, Path::new(name));
        Ok(file.to_owned())
    })
}

pub(super) fn complaint(args: &[&str], env: &[(&str, &str)], file: &str) -> String {
    load_from(args, env, file).expect_err("this should be refused").to_string()
}

#[test]
fn a_flag_wins_over_the_variable_that_over_the_file_that_over_the_default() {
    const FLAG: &[&str] = &["--ping-interval", "1s"];
    const VARIABLE: &[(&str, &str)] = &[("ROOST_PING_INTERVAL", "2s")];
    const FILE: &str = "ping_interval = \"3s\"";
    for (args, env, file, seconds, comment) in [
        (FLAG, VARIABLE, FILE, 1, "# flag --ping-interval"),
        (FLAG, VARIABLE, "", 1, "# flag --ping-interval"),
        (FLAG, &[], FILE, 1, "# flag --ping-interval"),
        (FLAG, &[], "", 1, "# flag --ping-interval"),
        (&[], VARIABLE, FILE, 2, "# environment ROOST_PING_INTERVAL"),
        (&[], VARIABLE, "", 2, "# environment ROOST_PING_INTERVAL"),
        (&[], &[], FILE, 3, "# file roost.toml:1:1"),
        (&[], &[], "", 25, "# default"),
    ] {
        let loaded = load_from(args, env, file).unwrap();
        assert_eq!(loaded.config.ping_interval, Duration::from_secs(seconds));
        let line = format!("ping_interval = \"{seconds}s\" {comment}\n");
        assert!(loaded.settings.to_string().contains(&line), "{line}{}", loaded.settings);
    }
}

#[test]
fn a_list_and_a_switch_follow_the_same_order_and_a_list_replaces_a_list() {
    let file = "origin = [\"https://file.example\"]\necho = true";
    let env = [("ROOST_ORIGIN", "https://a.example,https://b.example"), ("ROOST_ECHO", "false")];
    let config = load_from(&[], &[], file).unwrap().config;
    assert_eq!((config.origins, config.echo), (vec!["https://file.example".to_owned()], true));
    let config = load_from(&[], &env, file).unwrap().config;
    assert_eq!(
        (config.origins, config.echo),
        (vec!["https://a.example".to_owned(), "https://b.example".to_owned()], false)
    );
    let config =
        load_from(&["--origin", "*", "--origin", "https://c.example", "--echo"], &env, file).unwrap().config;
    assert_eq!((config.origins, config.echo), (vec!["*".to_owned(), "https://c.example".to_owned()], true));
    assert!(!load_from(&["--echo=false"], &[], file).unwrap().config.echo);
}

#[test]
fn the_file_of_a_flag_wins_over_the_file_of_the_variable() {
    let by_variable = load_as(&[], &[("ROOST_CONFIG", "env.toml")], "env.toml", "shards = 3").unwrap();
    assert_eq!(by_variable.config.shards, 3);
    let env = [("ROOST_CONFIG", "env.toml")];
    let by_flag = load_as(&["--config", "flag.toml"], &env, "flag.toml", "shards = 4").unwrap();
    assert_eq!(by_flag.config.shards, 4);
}

#[test]
fn no_file_is_read_unless_one_is_named() {
    let matches = command().no_binary_name(true).try_get_matches_from([""; 0]).unwrap();
    let read = |_: &Path| -> io::Result<String> { panic!("a file was read") };
    let loaded = load(&matches, [], &Host::default(), read).unwrap();
    assert_eq!(loaded.config, Config::default());
    assert_eq!(loaded.task, Task::Run);
}

#[test]
fn defaults_come_from_the_host_and_the_limits() {
    let room = capacity::Host { descriptors: 20_000, ..Host::default().room };
    let host = Host { cores: 6, room, name: "edge-1".to_owned() };
    let config = Config::load([], [], &host, |_| Ok(String::new())).unwrap();
    let expected = (6, capacity::one_table(6, room), "edge-1");
    assert_eq!((config.shards, config.max_connections, config.node.as_str()), expected);
    assert_eq!(config.limits(usize::MAX), Limits::default());
    let room = capacity::Host { descriptors: usize::MAX, memory_bytes: 16 << 40, ..room };
    let many = Host { cores: 1_000, room, ..host };
    let config = Config::load([], [], &many, |_| Ok(String::new())).unwrap();
    assert_eq!(
        (config.shards, config.max_connections, config.queue_total_bytes),
        (crate::limits::SHARDS_MAX, crate::limits::CONNECTIONS_MAX, 4 << 40)
    );
}

#[test]
fn as_many_connections_as_the_host_carries_follows_from_the_shards_unless_somebody_says() {
    let host = Host::default();
    let load = |args: &[&str]| {
        let args = args.iter().map(|&arg| OsString::from(arg));
        Config::load(args, [], &host, |_| Ok(String::new())).unwrap().max_connections
    };
    assert_eq!(load(&["--shards", "50"]), capacity::one_table(50, host.room));
    assert_eq!(load(&["--shards", "50", "--max-connections", "7"]), 7);
    let room = capacity::Host { memory_bytes: 100 * crate::limits::CONN_MEMORY_BYTES, ..host.room };
    assert_eq!(Host { room, ..host }.connections(1), 100, "memory is a bound as well");
}

#[test]
fn every_bound_reaches_the_shards_in_its_unit() {
    let file = "max_message = 1000\nqueue_soft = \"2KiB\"\nqueue_soft_for = \"3s\"\nqueue_hard = 4096\n\
                queue_total = \"9KiB\"\n\
                handshake_timeout = \"5s\"\nping_interval = \"6ms\"\nidle_timeout = \"7m\"\n\
                history_bytes = \"8MiB\"";
    let limits = load_from(&[], &[], file).unwrap().config.limits(5);
    let expected = Limits {
        message_bytes_max: 1000,
        queue_soft_bytes: 2048,
        queue_soft_for_ms: 3_000,
        queue_hard_bytes: 4096,
        queue_total_bytes: 9 * 1024,
        handshake_timeout_ms: 5_000,
        ping_interval_ms: 6,
        idle_timeout_ms: 420_000,
        conns_per_shard_max: 5,
        history_bytes: 8 * 1024 * 1024,
        ..Limits::default()
    };
    assert_eq!(limits, expected);
}

#[test]
fn policies_are_read_per_prefix() {
    let file =
        "[channels.\"\"]\nclients_may_publish = true\n[channels.\"news:\"]\nclients_may_publish = false\n";
    let policies = load_from(&[], &[], file).unwrap().config.policies;
    assert!(policies.for_channel("chat").clients_may_publish);
    assert!(!policies.for_channel("news:1").clients_may_publish);
}

#[test]
fn the_history_of_all_channels_is_an_option_and_a_prefix_may_have_its_own() {
    let history = |args: &[&str], file: &str, channel: &str| {
        let policies = load_from(args, &[], file).unwrap().config.policies;
        let policy = policies.for_channel(channel);
        (policy.history, policy.history_ttl_ms)
    };
    let file =
        "history = 7\n[channels.\"news:\"]\nhistory_ttl = \"1h\"\n[channels.\"news:eu:\"]\nhistory = 0\n";
    assert_eq!(history(&[], "", "a"), (32, 120_000));
    assert_eq!(history(&["--history", "5", "--history-ttl", "9s"], "", "a"), (5, 9_000));
    assert_eq!(history(&[], file, "a"), (7, 120_000));
    assert_eq!(history(&["--history", "5"], file, "news:1"), (5, 3_600_000));
    assert_eq!(history(&["--history", "5"], file, "news:eu:1"), (0, 3_600_000));
    // What is written below "" holds for all channels, and an option is only what nobody wrote there.
    let everywhere = "[channels.\"\"]\nhistory = 3\n";
    assert_eq!(history(&["--history", "5"], everywhere, "a"), (3, 120_000));
}

#[test]
fn a_wrong_flag_names_its_neighbour_and_is_wrong_usage() {
    for (args, words) in [
        (&["--lisen", "0.0.0.0:1"][..], &["--lisen", "--listen"][..]),
        (&["--ping-interval", "10"], &["--ping-interval", "`10` is not a time", "`10s`"]),
        (&["--max-message", "64KB"], &["--max-message", "`64KB` is not a size", "`64KiB`"]),
        (&["--listen", ":80"], &["--listen", "`:80` is not an address", "`0.0.0.0:80`"]),
        (&["--api", "/run/api.sock"], &["--api", "`unix:/run/api.sock`"]),
        (&["--origin", "example.com"], &["--origin", "`https://example.com`"]),
        (&["--log-level", "debgu"], &["--log-level", "did you mean `debug`?"]),
        (&["--log-format", "jsn"], &["--log-format", "did you mean `json`?"]),
        (&["--shards", "two"], &["--shards", "`two` is not a count"]),
        (&["--echo=ture"], &["--echo", "did you mean `true`?"]),
        (&["--check", "--print-config"], &["--check", "--print-config"]),
    ] {
        let error = load_from(args, &[], "").unwrap_err();
        assert!(matches!(error, ConfigError::Usage(_)), "{args:?}");
        for word in words {
            assert!(error.to_string().contains(word), "{word} in {error}");
        }
    }
}

#[test]
fn a_wrong_variable_is_named_with_its_value_and_the_nearest_valid_one() {
    for (name, value, expected) in [
        ("ROOST_PING_INTERVAL", "10sec", "ROOST_PING_INTERVAL: `10sec` is not a time: did you mean `10s`?"),
        ("ROOST_QUEUE_HARD", "1MB", "ROOST_QUEUE_HARD: `1MB` is not a size: did you mean `1MiB`?"),
        ("ROOST_LISTEN", "8080", "ROOST_LISTEN: `8080` is not an address: did you mean `0.0.0.0:8080`?"),
        ("ROOST_ECHO", "yes", "ROOST_ECHO: `yes` is not a switch (`true` or `false`)"),
        ("ROOST_SHARDS", "-1", "ROOST_SHARDS: `-1` is not a count"),
        ("ROOST_LOG_LEVEL", "WARN", "ROOST_LOG_LEVEL: `WARN` is not a log level: did you mean `warn`?"),
        ("ROOST_ORIGIN", "https://a.example,b.example", "ROOST_ORIGIN: `b.example` is not an origin"),
    ] {
        let text = complaint(&[], &[(name, value)], "");
        assert!(text.starts_with(expected), "{text}");
    }
}

#[test]
fn a_variable_that_is_not_unicode_is_refused_by_name() {
    use std::os::unix::ffi::OsStringExt;
    let env = [("ROOST_NODE".into(), OsString::from_vec(vec![0xff]))];
    let error = Config::load([], env, &Host::default(), |_| Ok(String::new())).unwrap_err();
    assert_eq!(error.to_string(), "ROOST_NODE: its value is not UTF-8");
}

#[test]
fn a_wrong_key_or_value_in_the_file_is_named_with_line_column_and_neighbour() {
    for (file, expected) in [
        ("lisen = \"x\"", "roost.toml:1:1: unknown key `lisen`: did you mean `listen`?"),
        (
            "\n  ping-interval = \"1s\"",
            "roost.toml:2:3: unknown key `ping-interval`: did you mean `ping_interval`?",
        ),
        ("chanels = 1", "roost.toml:1:1: unknown key `chanels`: did you mean `channels`?"),
        ("xyzzy = 1", "roost.toml:1:1: unknown key `xyzzy`: valid here are listen, api, node, "),
        ("ping_interval = 10", "roost.toml:1:17: ping_interval: `10` is not a time: did you mean `10s`?"),
        (
            "max_message = \"64kb\"",
            "roost.toml:1:15: max_message: `64kb` is not a size: did you mean `64KiB`?",
        ),
        ("max_message = -1", "roost.toml:1:15: max_message: `-1` is not a size"),
        ("max_message = 1.5", "roost.toml:1:15: max_message: `1.5` is not a size"),
        ("shards = \"two\"", "roost.toml:1:10: shards: `two` is not a count"),
        ("log_level = \"loud\"", "roost.toml:1:13: log_level: `loud` is not a log level (error, warn,"),
        ("echo = \"yes\"", "roost.toml:1:8: echo: invalid type: string \"yes\", expected a boolean"),
        ("origin = [\"example.com\"]", "roost.toml:1:10: origin: `example.com` is not an origin: did you"),
        ("channels = 1", "roost.toml:1:12: channels: it is not a table: write [channels.\"PREFIX\"]"),
        (
            "[channels]\nchat = 1",
            "roost.toml:2:8: channels.\"chat\": it is not a table: write [channels.\"chat\"]",
        ),
        (
            "[channels.\"chat:\"]\nclient_may_publish = true",
            "roost.toml:2:1: unknown key `channels.\"chat:\".client_may_publish`: did you mean `clients_may_publish`?",
        ),
        (
            "[channels.\"chat:\"]\nclients_may_publish = 1",
            "roost.toml:2:23: channels.\"chat:\".clients_may_publish: invalid type: integer `1`, expected a boolean",
        ),
        (
            "[channels.a]\nhistory = -1",
            "roost.toml:2:11: channels.\"a\".history: invalid value: integer `-1`",
        ),
        (
            "[channels.a]\nhistory_ttl = 5",
            "roost.toml:2:15: channels.\"a\".history_ttl: `5` is not a time: did you mean `5s`?",
        ),
        (
            "[channels.a]\nslow = \"lastest\"",
            "roost.toml:2:8: channels.\"a\".slow: `lastest` is not what becomes of slow readers: did you mean `latest`? (disconnect, drop or latest)",
        ),
        (
            "[channels.a]\nslow = true",
            "roost.toml:2:8: channels.\"a\".slow: `true` is not what becomes of slow readers (disconnect, drop or latest)",
        ),
        (
            "[channels.a]\nauth = \"tokens\"",
            "roost.toml:2:8: channels.\"a\".auth: `tokens` is not who may use a channel: did you mean `token`? (public or token)",
        ),
        (
            "[channels.\"a b\"]",
            "roost.toml:1:11: channels.\"a b\": no channel name can begin with \"a b\": ' ' is",
        ),
        ("shards = ", "roost.toml:1:10: not valid TOML: "),
        ("# ä\nnode = \"ä\" x", "roost.toml:2:12: not valid TOML: "),
        ("shards = 1\nshards = 2", "roost.toml:2:1: not valid TOML: duplicate key"),
    ] {
        let text = complaint(&[], &[], file);
        assert!(text.starts_with(expected), "{file}\n{text}");
        assert_eq!(text.lines().count(), 1, "{text}");
    }
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let missing = |_: &Path| Err(io::Error::from(io::ErrorKind::NotFound));
    let args = ["--config", "no.toml"].map(OsString::from);
    let error = Config::load(args, [], &Host::default(), missing).unwrap_err();
    assert_eq!(error.to_string(), "no.toml: cannot be read: entity not found");
    let large = " ".repeat(crate::limits::CONFIG_FILE_BYTES_MAX + 1);
    assert!(complaint(&[], &[], &large).starts_with("roost.toml: cannot be read: it has 1048577 bytes"));
}

#[test]
fn all_problems_are_told_at_once_and_in_the_order_of_the_file() {
    let text =
        complaint(&[], &[("ROOST_SHARDS", "x")], "zz = 1\nping_interval = 1\nlisen = 2\n[channels.\" \"]");
    let starts =
        ["ROOST_SHARDS: ", "roost.toml:1:1: ", "roost.toml:2:17: ", "roost.toml:3:1: ", "roost.toml:4:11: "];
    assert_eq!(text.lines().count(), starts.len(), "{text}");
    for (line, start) in text.lines().zip(starts) {
        assert!(line.starts_with(start), "{line}");
    }
}

#[test]
fn values_that_do_not_go_together_are_refused_with_both_and_their_places() {
    for (args, env, file, expected) in [
        (
            &["--ping-interval", "1m"][..],
            &[][..],
            "",
            "--ping-interval 1m: must be shorter than `idle_timeout = \"1m\" (default)`: ",
        ),
        (
            &[],
            &[("ROOST_QUEUE_SOFT", "1MiB")],
            "\nqueue_hard = \"512KiB\"",
            "ROOST_QUEUE_SOFT=1MiB: must not be larger than `roost.toml:2:1: queue_hard = \"512KiB\"`: ",
        ),
        (
            &[],
            &[],
            "max_message = \"1MiB\"",
            "roost.toml:1:1: max_message = \"1MiB\": must not be larger than `queue_hard",
        ),
        (&["--shards", "0"], &[], "", "--shards 0: must be from 1 to 128; the nearest is 1"),
        (&["--shards", "129"], &[], "", "--shards 129: must be from 1 to 128; the nearest is 128"),
        (
            &["--max-connections", "0"],
            &[],
            "",
            "--max-connections 0: must be from 1 to 1073741824; the nearest is 1",
        ),
        (
            &["--history", "100001"],
            &[],
            "",
            "--history 100001: must be from 0 to 100000; the nearest is 100000",
        ),
        (
            &[],
            &[],
            "[channels.\"a:\"]\nhistory_ttl = \"25h\"",
            "roost.toml:2:1: channels.\"a:\".history_ttl = \"25h\": must be from 0ms to 24h; the nearest is 24h",
        ),
        (
            &[],
            &[],
            "[channels.\"\"]\nhistory = 100001",
            "roost.toml:2:1: channels.\"\".history = 100001: must be from 0 to 100000",
        ),
        (&["--drain-over", "25h"], &[], "", "--drain-over 25h: must be from 0ms to 24h; the nearest is 24h"),
        (&["--handshake-timeout", "0s"], &[], "", "--handshake-timeout 0ms: must be from 1ms to 24h"),
        (
            &["--send-buffer", "1"],
            &[],
            "",
            "--send-buffer 1: must be from 1KiB to 512MiB; the nearest is 1KiB",
        ),
        (&["--node", "a\nb"], &[], "", "--node a?b: must be 1 to 253 bytes without control characters"),
        (&["--api", "0.0.0.0:8081"], &[], "", "--api 0.0.0.0:8081: the API has no keys"),
        (&["--api", "[::]:8081"], &[], "", "--api [::]:8081: the API has no keys"),
        (
            &["--listen", "0.0.0.0:8081"],
            &[],
            "",
            "api = \"127.0.0.1:8081\" (default): must not be the same as `--listen 0.0.0.0:8081`",
        ),
    ] {
        let text = complaint(args, env, file);
        assert!(text.starts_with(expected), "{text}");
    }
}

#[test]
fn what_may_wait_for_one_client_must_fit_into_what_may_wait_for_all() {
    let text = complaint(&["--queue-hard", "1MiB"], &[("ROOST_QUEUE_TOTAL", "512KiB")], "");
    let refused = "ROOST_QUEUE_TOTAL=512KiB: must not be smaller than `--queue-hard 1MiB`: ";
    assert!(text.starts_with(refused), "{text}");
}

#[test]
fn values_that_just_go_together_are_taken() {
    let file = "max_message = 1000\nqueue_soft = 1000\nqueue_hard = 1000\nqueue_total = 1000\nping_interval = \"999ms\"\nidle_timeout = \"1s\"";
    let config = load_from(&[], &[], file).unwrap().config;
    assert_eq!(
        [
            config.message_bytes_max,
            config.queue_soft_bytes,
            config.queue_hard_bytes,
            config.queue_total_bytes
        ],
        [1000; 4]
    );
}

#[test]
fn a_refused_api_address_says_what_to_use_instead() {
    let text = complaint(&["--api", "10.0.0.5:9000"], &[], "");
    for word in ["127.0.0.1:9000", "unix:/run/roost/api.sock", "tunnel"] {
        assert!(text.contains(word), "{text}");
    }
}

#[test]
fn a_loopback_address_a_unix_socket_and_any_free_port_are_taken() {
    for api in
        ["127.0.0.1:9", "127.8.8.8:9", "[::1]:9", "[::ffff:127.0.0.1]:9", "unix:/tmp/api", "127.0.0.1:0"]
    {
        let config = load_from(&["--api", api, "--listen", "0.0.0.0:0"], &[], "").unwrap().config;
        assert_eq!(config.api, api.parse().unwrap());
    }
}

#[test]
fn the_help_names_every_option_with_its_variable_and_default() {
    let help = command().render_help().to_string();
    for key in options::keys() {
        assert!(help.contains(&options::flag(&key)), "{key}\n{help}");
        assert!(help.contains(&format!("[env: {}]", options::variable(&key))), "{key}\n{help}");
    }
    for word in
        ["--config", "ROOST_CONFIG", "--check", "--print-config", "[default: 0.0.0.0:8080]", "[default: 25s]"]
    {
        assert!(help.contains(word), "{word}\n{help}");
    }
    assert!(!help.contains("[default: 1024]") && !help.contains("[default: roost]"), "{help}");
}

#[test]
fn the_names_of_flags_variables_and_keys_are_the_same() {
    for arg in options::bare_command().get_arguments() {
        let key = arg.get_id().as_str();
        assert_eq!(arg.get_long().map(|long| format!("--{long}")), Some(options::flag(key)));
    }
    let mut from_flags = options::keys();
    let mut from_serde: Vec<_> = Settings::defaults(&Host::default()).unwrap().options.into_keys().collect();
    from_flags.sort();
    from_serde.sort();
    assert_eq!(from_flags, from_serde);
}

#[test]
fn a_mistyped_variable_warns_and_changes_nothing() {
    let loaded = load_from(&[], &[("ROOST_PING_INTERVALL", "1s")], "").unwrap();
    assert_eq!(loaded.config, Config::default());
    let words: Vec<_> = loaded.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(words, ["ROOST_PING_INTERVALL sets nothing: did you mean ROOST_PING_INTERVAL?"]);
}

#[test]
fn the_tasks_are_told_apart() {
    assert_eq!(load_from(&["--check"], &[], "").unwrap().task, Task::Check);
    assert_eq!(load_from(&["--print-config"], &[], "").unwrap().task, Task::Print);
}

#[test]
fn a_strange_file_name_or_prefix_does_not_break_the_printed_file() {
    let name = "a\nshards = 9 #.toml";
    let loaded = load_as(
        &[],
        &[],
        name,
        "shards = 2\n[channels.\"a:\"]\n[channels.\"a:/=\"]\nclients_may_publish=true",
    );
    let loaded = loaded.unwrap();
    let again = load_from(&[], &[], &loaded.settings.to_string()).unwrap();
    assert_eq!(again.config, loaded.config);
}
