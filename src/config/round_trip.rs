//! What `--print-config` prints is a configuration, and no file is more than the reader can take: both for generated files.

use proptest::prelude::*;

use super::tests::load_from;
use super::*;

proptest! {
    #[test]
    fn what_print_config_prints_reads_back_as_the_same_configuration(
        flags in (1usize..=128, 1u64..100_000, 1u64..40_000, "[ -~äö\"\\\\#']{1,40}"),
        sizes in (1u64..=64, 65u64..1_000_000),
        origins in prop::collection::vec("https://[a-z]{1,9}\\.example", 0..4),
        rules in prop::collection::btree_map(
            "[a-z:/=@.]{0,5}",
            any::<(Option<bool>, Option<u16>, Option<u16>, Option<prop::sample::Index>)>(),
            0..6,
        ),
        echo in any::<bool>(),
    ) {
        let (shards, connections, ping, node) = flags;
        let mut file = format!("max_message = {}\nqueue_soft = \"{}KiB\"\nqueue_hard = \"1GiB\"\n", sizes.0, sizes.1);
        file.push_str(&format!("origin = {origins:?}\n"));
        for (prefix, (clients_may_publish, history, history_ttl, slow)) in &rules {
            file.push_str(&format!("[channels.\"{prefix}\"]\n"));
            if let Some(clients_may_publish) = clients_may_publish {
                file.push_str(&format!("clients_may_publish = {clients_may_publish}\n"));
            }
            if let Some(history) = history {
                file.push_str(&format!("history = {history}\n"));
            }
            if let Some(history_ttl) = history_ttl {
                file.push_str(&format!("history_ttl = \"{history_ttl}s\"\n"));
            }
            if let Some(slow) = slow {
                file.push_str(&format!("slow = \"{}\"\n", Slow::ALL[slow.index(Slow::ALL.len())]));
            }
        }
        let args = [format!("--shards={shards}"), format!("--ping-interval={ping}ms"), format!("--node={node}")];
        let args: Vec<_> = args.iter().map(String::as_str).collect();
        let (connections, echo) = (connections.to_string(), echo.to_string());
        let env = [("ROOST_MAX_CONNECTIONS", connections.as_str()), ("ROOST_ECHO", echo.as_str())];
        let loaded = load_from(&args, &env, &file).unwrap();
        let again = load_from(&[], &[], &loaded.settings.to_string()).unwrap();
        prop_assert_eq!(again.config, loaded.config);
    }

    #[test]
    fn no_file_makes_the_reader_panic(text in "[a-z_\"\\[\\].= 0-9\n#äÿ:]{0,80}") {
        drop(load_from(&[], &[], &text));
    }
}
